//! Widgets: controls on the page that the cells read, set and react to. The names are those of
//! ipywidgets 8, whose front end shows them; nothing of Python is needed in the kernel.
//!
//! ```no_run
//! use dds::widgets::{IntSlider, Label, VBox};
//! let n = IntSlider::new(0..=100).value(5).description("n");
//! let square = Label::new("25");
//! let shown = square.clone();
//! n.on_change(move |n| shown.set_value(format!("{}", n * n)));
//! dds::display(&VBox::new((&n, &square)));
//! ```
//!
//! An attribute `x` of a widget is built with `.x(…)`, changed with `.set_x(…)`, read with
//! `.get_x()`. A handle is cheap to clone, all its clones are one widget, and it may be kept in a
//! variable from cell to cell. A widget is shown where it is the value of a cell, or by
//! [`display`](crate::display()); until then the page knows nothing of it. What has been shown lives until
//! it is closed, with or without a handle.
//!
//! **Callbacks** run one at a time: on the main thread while no cell runs, on a thread of their own
//! while one does ([`comm`](crate::comm)). No lock is held then, so that a callback may read and set any
//! widget; what it brings about itself is not told to it again. A panic in one is shown, and ends
//! that call only.
//!
//! **The front end** may change what a person changes by using a widget (a value, a choice, a page),
//! within bounds; anything else that it sends is refused with a line on standard error.
//!
//! **Checkpoints**: after an interrupt or a crash that goes back to one, widgets have the values of
//! then and the page shows them; widgets made since are closed.

mod any;
mod boxes;
mod button;
mod callback;
mod choice;
mod id;
mod image;
mod layout;
mod link;
mod number;
mod output;
mod spec;
mod store;
mod text;
mod transport;
mod typed;
mod upload;
mod value;

pub use any::AnyWidget;
pub use boxes::{Accordion, GridBox, HBox, IntoChildren, Tab, VBox};
pub use button::Button;
pub use choice::{Checkbox, Dropdown, ToggleButtons};
pub use image::Image;
pub use layout::Layout;
pub use link::{dlink, link};
pub use number::{FloatProgress, FloatSlider, IntProgress, IntSlider};
pub(crate) use output::captured;
pub use output::{MAX_OUTPUT_BYTES, MAX_OUTPUTS, Output};
pub use text::{HTML, Label, Text, Textarea};
pub use typed::{Look, Orientation, Valued, Widget};
pub use upload::{FileUpload, MAX_FILES, MAX_UPLOAD_BYTES, UploadedFile};

use store::Store;

/// Calls back while no widget's change is half done, so that a copy of the process finds none. Takes
/// its lock before those of the runtime.
pub(crate) fn hold_still(call: &mut dyn FnMut()) {
    Store::current().hold_still(call);
}

/// This process is a checkpoint that has taken over; see the module.
pub(crate) fn restored() {
    Store::current().restored();
}

#[cfg(test)]
mod tests;
