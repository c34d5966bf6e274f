use super::*;

fn made(recipe: &Recipe) -> BuildContext {
    recipe.context(&Templates::default()).unwrap()
}

#[track_caller]
fn refused(recipe: &Recipe) -> String {
    let error = recipe.context(&Templates::default()).unwrap_err();
    assert_eq!(error.status(), http::StatusCode::BAD_REQUEST);
    error.to_string()
}

#[track_caller]
fn check_files(context: &BuildContext, files: &[(&str, &str)]) {
    let found: Vec<_> =
        context.files().map(|(name, content)| (name, std::str::from_utf8(content).unwrap())).collect();
    assert_eq!(found, files);
}

#[test]
fn a_conda_file_is_installed_and_copied() {
    let context = made(&Recipe::conda("dependencies: [a]\n"));
    assert_eq!(context.container_file(), include_str!("snapshots/conda.dockerfile"));
    check_files(&context, &[("conda.yml", "dependencies: [a]\n")]);
}

#[test]
fn packages_become_an_environment_file() {
    let mut packages =
        CondaPackages::new(["samtools>=1.20,<2", "bioconda::bwa"], ["bioconda", "https://c.example/x"]);
    packages.micromamba_image = Some("mamba.example/m:2".to_owned());
    packages.base_image = Some("base.example/b".to_owned());
    packages.base_packages = Some("a  b>=2".to_owned());
    packages.commands = vec!["USER me".to_owned(), " ls -l ".to_owned(), "RUN a && b".to_owned()];
    let context = made(&Recipe::packages(packages));
    assert_eq!(context.container_file(), include_str!("snapshots/packages.dockerfile"));
    check_files(
        &context,
        &[(
            "conda.yml",
            "{\n  \"channels\": [\n    \"bioconda\",\n    \"https://c.example/x\"\n  ],\n  \"dependencies\": [\n    \"samtools>=1.20,<2\",\n    \"bioconda::bwa\"\n  ]\n}\n",
        )],
    );
}

#[test]
fn without_base_packages_their_line_is_left_out() {
    let mut packages = CondaPackages::file("dependencies: [a]\n");
    packages.base_packages = Some(String::new());
    let context = made(&Recipe::packages(packages));
    let expected = include_str!("snapshots/conda.dockerfile")
        .replace("    && micromamba install -y -n base 'conda-forge::procps-ng' \\\n", "");
    assert_eq!(context.container_file(), expected);
}

#[test]
fn a_spack_file_is_installed_and_copied() {
    let context = made(&Recipe::spack("spack: {specs: [a]}\n"));
    assert_eq!(context.container_file(), include_str!("snapshots/spack.dockerfile"));
    check_files(&context, &[("spack.yaml", "spack: {specs: [a]}\n")]);
}

#[test]
fn files_lie_beside_a_container_file() {
    let file = "FROM a\nCOPY conda.yml /\n";
    let context = made(&Recipe::container_file(file).with_conda_file("x"));
    assert_eq!(context.container_file(), file);
    check_files(&context, &[("conda.yml", "x")]);
    let context = made(&Recipe::container_file(file));
    assert_eq!(context.container_file(), file);
    check_files(&context, &[]);
}

#[test]
fn the_spack_stage_stands_before_the_first_stage() {
    let file =
        "# syntax=docker/dockerfile:1\nARG BASE=a.example/b\nFROM $BASE\nCOPY --from=builder /opt/view /v\n";
    let context = made(&Recipe::container_file(file).with_spack_file("s").with_conda_file("c"));
    let text = context.container_file();
    let stage = Templates::default().spack_stage();
    let expected = file.replace("FROM $BASE", &format!("{stage}\nFROM $BASE"));
    assert_eq!(text, expected);
    assert_eq!(context.base_images(), ["docker.io/spack/ubuntu-jammy:0.23".parse().unwrap()]);
    check_files(&context, &[("conda.yml", "c"), ("spack.yaml", "s")]);
}

#[test]
fn parts_that_exclude_each_other_are_refused() {
    assert_eq!(refused(&Recipe::default()), "there is nothing to build: no container file, no packages");
    assert_eq!(refused(&Recipe::conda(" \n")), "the Conda file is empty");
    assert_eq!(
        refused(&Recipe::conda("a").with_spack_file("b")),
        "a Conda file and a Spack file can't be one image without a container file"
    );
    let mut both = Recipe::packages(CondaPackages::new(["a"], ["b"]));
    both.container_file = Some("FROM a".to_owned());
    assert_eq!(refused(&both), "packages can't stand beside a container, Conda or Spack file");
    assert_eq!(
        refused(&Recipe::container_file("# nothing\n").with_spack_file("a")),
        "the container file has no `FROM`"
    );
    assert_eq!(
        refused(&Recipe::container_file("# escape=`\nFROM a").with_spack_file("a")),
        "a container file beside a Spack file can't have the directive `escape`"
    );
    assert_eq!(refused(&Recipe::packages(CondaPackages::default())), "there are no packages");
    let mut both = CondaPackages::new(["a"], ["b"]);
    both.environment = Some("c".to_owned());
    assert_eq!(refused(&Recipe::packages(both)), "an environment can't stand beside packages and channels");
    assert_eq!(
        refused(&Recipe::packages(CondaPackages::new(["https://x.example/lock"], ["b"]))),
        "the package `https://x.example/lock` is an address: send what is there as the environment"
    );
    let many = vec!["a"; CondaPackages::MAX + 1];
    assert_eq!(
        refused(&Recipe::packages(CondaPackages::new(many, ["b"]))),
        "there are 257 packages, more than 256"
    );
}

#[test]
fn no_value_breaks_out_of_its_place() {
    let hostile = [
        "a\nFROM evil",
        "a'b",
        "a\"b",
        "$(id)",
        "`id`",
        "-y",
        "--file=/etc/passwd",
        "a;b",
        "a&&b",
        "a\\",
        "a#b",
        "",
        "a\0",
        "é",
    ];
    for text in hostile {
        let start = |what| format!("the {what} `{}` is not one", shortened(text));
        let message = refused(&Recipe::packages(CondaPackages::new([text], ["b"])));
        assert!(message.starts_with(&start("package")), "{message}");
        let message = refused(&Recipe::packages(CondaPackages::new(["a"], [text])));
        assert!(message.starts_with(&start("channel")), "{message}");
        let mut packages = CondaPackages::new(["a"], ["b"]);
        packages.base_image = Some(text.to_owned());
        let message = refused(&Recipe::packages(packages));
        assert!(message.starts_with(&format!("the base image `{}`", shortened(text))), "{message}");
        if text.is_empty() {
            continue;
        }
        let mut packages = CondaPackages::new(["a"], ["b"]);
        packages.base_packages = Some(format!("x {text}"));
        let message = refused(&Recipe::packages(packages));
        assert!(message.contains("is not one"), "{message}");
    }
}

#[test]
fn a_command_is_one_instruction() {
    let mut packages = CondaPackages::new(["a"], ["b"]);
    for (text, reason) in [
        ("RUN a\nFROM evil", "is more than a line"),
        ("RUN a \\", "goes on after its line"),
        ("RUN cat <<E", "goes on after its line"),
        ("from evil", "begins another image"),
        ("ONBUILD RUN a", "is for other images"),
        ("# a", "is a comment"),
        ("--mount=type=bind true", "begins with an option"),
        (" ", "is empty or too long"),
    ] {
        packages.commands = vec![text.to_owned()];
        assert_eq!(
            refused(&Recipe::packages(packages.clone())),
            format!("the command `{}` {reason}", shortened(text))
        );
    }
}

#[test]
fn templates_are_checked_when_they_are_made() {
    let error = Templates::builder().conda("FROM {{x}}\n").build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the conda template has the placeholder `x`; it may have `micromamba_image`, `base_image`, `base_packages`, `commands`"
    );
    let open = Templates::builder().spack_stage("FROM {{spack_builder_image").build().unwrap_err();
    assert_eq!(open.to_string(), "the Spack stage has the placeholder ``; it may have `spack_builder_image`");
    let error = Templates::builder().spack_runner_image("a b").build().unwrap_err();
    assert!(error.to_string().starts_with("the Spack runner image `a b`: "), "{error}");
    let error = Templates::builder().conda("# escape=`\nFROM a\n").build().unwrap_err();
    assert!(error.to_string().contains("`escape`"), "{error}");
}

#[test]
fn a_value_is_no_placeholder() {
    let templates = Templates::builder().conda("FROM {{base_image}}\n{{commands}}\n").build().unwrap();
    let mut packages = CondaPackages::new(["a"], ["b"]);
    packages.commands = vec!["RUN echo {{base_image}}".to_owned()];
    let context = Recipe::packages(packages).context(&templates).unwrap();
    assert_eq!(context.container_file(), "FROM docker.io/library/debian:12-slim\nRUN echo {{base_image}}\n");
}
