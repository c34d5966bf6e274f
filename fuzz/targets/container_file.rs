//! Container files: whatever they are, what they begin with is found, and a Spack stage in front changes nothing else.

use tower_oci::build::BuildContext;
use tower_oci::build::recipe::{Recipe, Templates, lock};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let images = BuildContext::new(text).base_images();
    for (index, image) in images.iter().enumerate() {
        assert!(!images[..index].contains(image), "{image} twice");
        let written = image.to_string();
        assert!(!written.contains(['$', ' ', '\n']), "{written}");
        assert_eq!(written.parse().ok().as_ref(), Some(image));
    }
    // The log of a build is as foreign as its file.
    if let Some(lock) = lock(text) {
        assert!(lock.len() <= text.len() + 1 && lock.ends_with('\n'), "{lock:?}");
    }
    let recipe = Recipe::container_file(text).with_spack_file("spack: {}");
    let Ok(context) = recipe.context(&Templates::default()) else { return };
    let with_stage = context.container_file();
    let stage = BuildContext::new("FROM docker.io/spack/ubuntu-jammy:0.23").base_images();
    assert!(with_stage.len() > text.len());
    // A copy from `builder`, or from one number more, is one from a stage now.
    let found = context.base_images();
    assert_eq!(found.first(), stage.first(), "{with_stage}");
    assert!(found.iter().skip(1).all(|image| images.contains(image)), "{with_stage}");
}
