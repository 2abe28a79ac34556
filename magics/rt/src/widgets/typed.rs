//! The typed handles: what all kinds of widgets can do is written here once.

use super::any::AnyWidget;

/// A widget of any kind.
pub trait Widget {
    /// A handle whose type does not tell the kind.
    fn any(&self) -> AnyWidget;
}

impl Widget for AnyWidget {
    fn any(&self) -> AnyWidget {
        self.clone()
    }
}

impl<W: Widget + ?Sized> Widget for &W {
    fn any(&self) -> AnyWidget {
        (**self).any()
    }
}

/// A widget with a value, for [`link`](super::link) and functions over kinds of widgets.
pub trait Valued: Widget + Clone {
    type Value;

    /// The widget behind a handle that is known to be of this kind.
    #[doc(hidden)]
    fn of(any: AnyWidget) -> Self;
    fn get_value(&self) -> Self::Value;
    fn set_value(&self, value: Self::Value);
    /// Runs `function` with each new value.
    fn on_change(&self, function: impl FnMut(Self::Value) + Send + 'static);
}

/// The words that ipywidgets has for how buttons, bars and boxes look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Look {
    #[default]
    Plain,
    /// Of buttons only.
    Primary,
    Success,
    Info,
    Warning,
    Danger,
}

impl From<Look> for String {
    fn from(look: Look) -> String {
        let word = match look {
            Look::Plain => "",
            Look::Primary => "primary",
            Look::Success => "success",
            Look::Info => "info",
            Look::Warning => "warning",
            Look::Danger => "danger",
        };
        word.to_owned()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orientation {
    #[default]
    Horizontal,
    Vertical,
}

impl From<Orientation> for String {
    fn from(orientation: Orientation) -> String {
        let word = match orientation {
            Orientation::Horizontal => "horizontal",
            Orientation::Vertical => "vertical",
        };
        word.to_owned()
    }
}

/// A kind of widget: its type, and its attributes in three forms each: to build with, to set later,
/// to read. Groups: `described`, `disabled`, `sized` (by its layout).
macro_rules! widget {
    (
        $(#[$doc:meta])*
        $name:ident [$($group:ident)*] {
            $($(#[$about:meta])* $build:ident $set:ident $($get:ident)? : $type:ty $(= $from:ty)?;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq)]
        pub struct $name($crate::widgets::AnyWidget);

        impl $crate::widgets::Widget for $name {
            fn any(&self) -> $crate::widgets::AnyWidget {
                self.0.clone()
            }
        }

        impl From<$name> for $crate::widgets::AnyWidget {
            fn from(widget: $name) -> Self {
                widget.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, out)
            }
        }

        impl $crate::Display for $name {
            fn bundle(&self) -> $crate::Bundle {
                self.0.bundle()
            }
        }

        impl $name {
            $($crate::widgets::typed::attribute! {
                $(#[$about])* $build $set $($get)? : $type $(= $from)?;
            })*

            $crate::widgets::typed::attribute! {
                /// Shown while the pointer is over it.
                tooltip set_tooltip get_tooltip: Option<String> = String;
            }

            $($crate::widgets::typed::$group!();)*

            /// Builds with a layout of yours.
            #[must_use]
            pub fn layout(self, layout: $crate::widgets::Layout) -> Self {
                self.0.set_layout(&layout);
                self
            }

            /// The layout, to change it.
            pub fn get_layout(&self) -> $crate::widgets::Layout {
                self.0.layout()
            }

            /// Adds a CSS class to its element.
            pub fn add_class(&self, class: &str) {
                self.0.add_class(class);
            }

            /// Runs `function` with each new value of an attribute, named as on the wire.
            pub fn observe(&self, attribute: &str, function: impl FnMut(&$crate::Json) + Send + 'static) {
                self.0.observe(attribute, function);
            }

            /// Takes all callbacks away.
            pub fn unobserve_all(&self) {
                self.0.unobserve_all();
            }

            /// Takes it off the page. It keeps its value, and comes back when it is shown again.
            pub fn close(&self) {
                self.0.close();
            }

            /// The id of its model and comm.
            pub fn model_id(&self) -> &str {
                self.0.model_id()
            }
        }
    };
}

macro_rules! attribute {
    ($(#[$about:meta])* $build:ident $set:ident $($get:ident)? : $type:ty;) => {
        $crate::widgets::typed::attribute! { $(#[$about])* $build $set $($get)? : $type = $type; }
    };
    // What is given may be of another type than what is read.
    ($(#[$about:meta])* $build:ident $set:ident $($get:ident)? : $type:ty = $from:ty;) => {
        $(#[$about])*
        #[must_use]
        pub fn $build(self, value: impl Into<$from>) -> Self {
            self.$set(value);
            self
        }

        #[doc = concat!("Changes `", stringify!($build), "` later.")]
        pub fn $set(&self, value: impl Into<$from>) {
            let value: $from = value.into();
            self.0.set(stringify!($build), <$type>::from(value));
        }

        $(
            #[doc = concat!("What `", stringify!($build), "` is now.")]
            pub fn $get(&self) -> $type {
                self.0.get(stringify!($build))
            }
        )?
    };
}

/// Attributes that are lists of words.
macro_rules! words {
    ($($(#[$about:meta])* $build:ident $set:ident $get:ident)*) => { $(
        $(#[$about])*
        #[must_use]
        pub fn $build(self, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
            self.$set(words);
            self
        }

        #[doc = concat!("Changes `", stringify!($build), "` later.")]
        pub fn $set(&self, words: impl IntoIterator<Item = impl Into<String>>) {
            let words: Vec<String> = words.into_iter().map(Into::into).collect();
            self.0.set(stringify!($build), words);
        }

        #[doc = concat!("What `", stringify!($build), "` are now.")]
        pub fn $get(&self) -> Vec<String> {
            self.0.get(stringify!($build))
        }
    )* };
}

macro_rules! described {
    () => {
        $crate::widgets::typed::attribute! {
            /// The words beside it.
            description set_description get_description: String;
        }
        $crate::widgets::typed::attribute! {
            /// Whether the description is HTML.
            description_allow_html set_description_allow_html: bool;
        }
        $crate::widgets::typed::style! {
            /// Room for the description, in CSS; `initial` takes what it needs.
            description_width set_description_width
        }
    };
}

macro_rules! disabled {
    () => {
        $crate::widgets::typed::attribute! {
            /// Whether it takes no input.
            disabled set_disabled get_disabled: bool;
        }
    };
}

macro_rules! sized {
    () => {
        /// Width in CSS: `"300px"`, `"50%"`.
        #[must_use]
        pub fn width(self, width: impl Into<String>) -> Self {
            self.set_width(width);
            self
        }

        /// Changes the width later.
        pub fn set_width(&self, width: impl Into<String>) {
            self.0.layout().set_width(width.into());
        }

        /// Height in CSS.
        #[must_use]
        pub fn height(self, height: impl Into<String>) -> Self {
            self.set_height(height);
            self
        }

        /// Changes the height later.
        pub fn set_height(&self, height: impl Into<String>) {
            self.0.layout().set_height(height.into());
        }
    };
}

/// Attributes of the style, set through the widget.
macro_rules! style {
    ($($(#[$about:meta])* $build:ident $set:ident)*) => { $(
        $(#[$about])*
        #[must_use]
        pub fn $build(self, value: impl Into<String>) -> Self {
            self.$set(value);
            self
        }

        #[doc = concat!("Changes `", stringify!($build), "` of the style later.")]
        pub fn $set(&self, value: impl Into<String>) {
            self.0.set_style(stringify!($build), value.into());
        }
    )* };
}

/// A widget whose attribute `value` is its value.
macro_rules! valued {
    ($name:ident: $type:ty) => {
        impl $name {
            /// Runs `function` with each new value: what the user did, or a cell.
            ///
            /// While no cell runs it runs on the main thread, while one does on a thread of its own;
            /// never inside itself, so it may set this or any other widget.
            pub fn on_change(&self, mut function: impl FnMut($type) + Send + 'static) {
                self.0.on_value("value", move |value: $type| function(value));
            }
        }

        impl $crate::widgets::Valued for $name {
            type Value = $type;

            fn of(any: $crate::widgets::AnyWidget) -> Self {
                $name(any)
            }

            fn get_value(&self) -> $type {
                self.0.get("value")
            }

            fn set_value(&self, value: $type) {
                self.0.set("value", value);
            }

            fn on_change(&self, function: impl FnMut($type) + Send + 'static) {
                $name::on_change(self, function);
            }
        }
    };
}

pub(super) use {attribute, described, disabled, sized, style, valued, widget, words};
