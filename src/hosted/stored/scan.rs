use super::keys::Span;
use crate::error::Error;
use crate::store::index::View;

/// Whether there is any key.
pub(super) fn is_any(view: &dyn View, span: &Span) -> Result<bool, Error> {
    let mut found = false;
    view.scan(&span.first, &span.end, &mut |_, _| {
        found = true;
        false
    })?;
    Ok(found)
}

pub(super) fn count(view: &dyn View, span: &Span) -> Result<usize, Error> {
    let mut found = 0;
    view.scan(&span.first, &span.end, &mut |_, _| {
        found += 1;
        true
    })?;
    Ok(found)
}

/// What `read` makes of up to `max` entries, where it makes something of them.
pub(super) fn collect<T>(
    view: &dyn View,
    span: &Span,
    max: usize,
    mut read: impl FnMut(&[u8], &[u8]) -> Result<Option<T>, Error>,
) -> Result<Vec<T>, Error> {
    let (mut found, mut failed) = (Vec::new(), None);
    if max > 0 {
        view.scan(&span.first, &span.end, &mut |key, value| {
            match read(key, value) {
                Ok(Some(one)) => found.push(one),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
            failed.is_none() && found.len() < max
        })?;
    }
    failed.map_or(Ok(found), Err)
}
