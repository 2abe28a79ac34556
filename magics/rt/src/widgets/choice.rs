//! Choices: yes or no, and one of several.

use super::any::AnyWidget;
use super::spec::{CHECKBOX, DROPDOWN, Spec, TOGGLE_BUTTONS};
use super::typed::{Look, Valued, style, valued, widget, words};
use crate::json::Json;

widget! {
    /// A box to tick.
    Checkbox [described disabled sized] {
        value set_value get_value: bool;
        /// Whether it is lined up with what has its description on the left.
        indent set_indent: bool;
    }
}
valued!(Checkbox: bool);

impl Checkbox {
    pub fn new(value: bool) -> Checkbox {
        let checkbox = Checkbox(AnyWidget::new(&CHECKBOX));
        checkbox.set_value(value);
        checkbox
    }

    style! {
        background set_background
    }
}

widget! {
    /// One of several options, from a list that opens.
    Dropdown [described disabled sized] {}
}

widget! {
    /// One of several options, each with a button.
    ToggleButtons [described disabled sized] {
        button_style set_button_style: String = Look;
    }
}

impl ToggleButtons {
    words! {
        /// Words for each option, shown while the pointer is over its button.
        tooltips set_tooltips get_tooltips
        /// Names of Font Awesome icons, one for each option.
        icons set_icons get_icons
    }

    style! {
        /// Width of each button, in CSS.
        button_width set_button_width
        font_weight set_font_weight
    }
}

fn with_options(spec: &'static Spec, options: Vec<String>) -> AnyWidget {
    let widget = AnyWidget::new(spec);
    widget.set("_options_labels", options);
    widget
}

/// The words of the option at `index`; empty when there is none.
fn chosen(widget: &AnyWidget, index: Option<usize>) -> String {
    let mut options: Vec<String> = widget.get("_options_labels");
    match index {
        Some(index) if index < options.len() => options.swap_remove(index),
        _ => String::new(),
    }
}

fn choose(widget: &AnyWidget, value: &str) {
    let options: Vec<String> = widget.get("_options_labels");
    match options.iter().position(|option| option == value) {
        Some(index) => widget.set("index", Json::from(index)),
        None => eprintln!("dds::widgets: {} has no option {value:?}; it keeps its choice", widget.kind()),
    }
}

macro_rules! selection {
    ($name:ident, $spec:ident) => {
        impl $name {
            /// The first option is chosen.
            pub fn new<S: Into<String>>(options: impl IntoIterator<Item = S>) -> $name {
                $name(with_options(&$spec, options.into_iter().map(Into::into).collect()))
            }

            /// Other options; the first of them is chosen.
            pub fn set_options<S: Into<String>>(&self, options: impl IntoIterator<Item = S>) {
                let options: Vec<String> = options.into_iter().map(Into::into).collect();
                self.0.set("_options_labels", options);
            }

            pub fn get_options(&self) -> Vec<String> {
                self.0.get("_options_labels")
            }

            /// Chooses an option by its words. One that is not there is not chosen, with a message.
            #[must_use]
            pub fn value(self, value: impl AsRef<str>) -> Self {
                choose(&self.0, value.as_ref());
                self
            }

            /// Chooses another option later.
            pub fn set_value(&self, value: impl AsRef<str>) {
                choose(&self.0, value.as_ref());
            }

            /// The words of the option that is chosen; empty when there are no options.
            pub fn get_value(&self) -> String {
                chosen(&self.0, self.get_index())
            }

            /// Chooses an option by its place, from 0.
            #[must_use]
            pub fn index(self, index: usize) -> Self {
                self.set_index(index);
                self
            }

            /// Chooses another option later, by its place. One past the end chooses the first.
            pub fn set_index(&self, index: usize) {
                self.0.set("index", Json::from(index));
            }

            pub fn get_index(&self) -> Option<usize> {
                self.0.get("index")
            }

            /// Runs `function` with the words of each new choice; see [`IntSlider::on_change`] for
            /// where.
            ///
            /// [`IntSlider::on_change`]: super::IntSlider::on_change
            pub fn on_change(&self, mut function: impl FnMut(String) + Send + 'static) {
                let me = self.0.downgrade();
                self.0.on_value("index", move |index: Option<usize>| {
                    if let Some(me) = me.upgrade() {
                        function(chosen(&me, index));
                    }
                });
            }
        }

        impl Valued for $name {
            type Value = String;

            fn of(any: AnyWidget) -> Self {
                $name(any)
            }

            fn get_value(&self) -> String {
                $name::get_value(self)
            }

            fn set_value(&self, value: String) {
                choose(&self.0, &value);
            }

            fn on_change(&self, function: impl FnMut(String) + Send + 'static) {
                $name::on_change(self, function);
            }
        }
    };
}
selection!(Dropdown, DROPDOWN);
selection!(ToggleButtons, TOGGLE_BUTTONS);
