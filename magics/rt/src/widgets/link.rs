//! Widgets that follow each other.

use super::typed::Valued;

/// Keeps the values of two widgets equal, beginning with that of `a`. Where one cannot take the
/// other's value (a smaller range), both end with what it makes of it.
///
/// ```no_run
/// use dds::widgets::{IntProgress, IntSlider, link};
/// let (slider, bar) = (IntSlider::new(0..=10), IntProgress::new(0..=10));
/// link(&slider, &bar);
/// ```
pub fn link<A, B>(a: &A, b: &B)
where
    A: Valued + 'static,
    B: Valued<Value = A::Value> + 'static,
{
    follow(a, b, |value| value);
    follow(b, a, |value| value);
    b.set_value(a.get_value());
}

/// Keeps the value of `b` at `convert` of the value of `a`.
pub fn dlink<A, B>(a: &A, b: &B, convert: impl Fn(A::Value) -> B::Value + Send + 'static)
where
    A: Valued + 'static,
    B: Valued + 'static,
{
    b.set_value(convert(a.get_value()));
    follow(a, b, convert);
}

/// Neither keeps the other alive. A loop ends because a callback does not run inside itself, and a
/// value that is there already is no change.
fn follow<A: Valued, B: Valued + 'static>(
    a: &A,
    b: &B,
    convert: impl Fn(A::Value) -> B::Value + Send + 'static,
) {
    let target = b.any().downgrade();
    a.on_change(move |value| {
        if let Some(target) = target.upgrade() {
            B::of(target).set_value(convert(value));
        }
    });
}
