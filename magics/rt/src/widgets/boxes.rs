//! Widgets that hold others.

use super::any::AnyWidget;
use super::spec::{ACCORDION, GRID_BOX, HBOX, Spec, TAB, VBOX};
use super::typed::{Look, Widget, widget, words};
use crate::json::Json;

/// What a box holds: a vector, an array or a slice of widgets of one kind, or a tuple of different
/// ones, each by value or by reference.
pub trait IntoChildren {
    fn into_children(self) -> Vec<AnyWidget>;
}

impl<W: Widget> IntoChildren for Vec<W> {
    fn into_children(self) -> Vec<AnyWidget> {
        self.iter().map(Widget::any).collect()
    }
}

impl<W: Widget> IntoChildren for &[W] {
    fn into_children(self) -> Vec<AnyWidget> {
        self.iter().map(Widget::any).collect()
    }
}

impl<W: Widget, const N: usize> IntoChildren for [W; N] {
    fn into_children(self) -> Vec<AnyWidget> {
        self.iter().map(Widget::any).collect()
    }
}

impl IntoChildren for () {
    fn into_children(self) -> Vec<AnyWidget> {
        Vec::new()
    }
}

macro_rules! tuple {
    ($($kind:ident $place:tt),*) => {
        impl<$($kind: Widget),*> IntoChildren for ($($kind,)*) {
            fn into_children(self) -> Vec<AnyWidget> {
                vec![$(self.$place.any()),*]
            }
        }
    };
}
tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);

fn holding(spec: &'static Spec, children: impl IntoChildren) -> AnyWidget {
    let widget = AnyWidget::new(spec);
    widget.set("children", children.into_children());
    widget
}

macro_rules! container {
    ($(#[$doc:meta])* $name:ident, $spec:ident) => {
        widget! {
            $(#[$doc])*
            $name [sized] {
                box_style set_box_style: String = Look;
            }
        }

        impl $name {
            pub fn new(children: impl IntoChildren) -> $name {
                $name(holding(&$spec, children))
            }

            /// Holds others from now on.
            pub fn set_children(&self, children: impl IntoChildren) {
                self.0.set("children", children.into_children());
            }

            pub fn get_children(&self) -> Vec<AnyWidget> {
                self.0.get("children")
            }
        }
    };
}

container! {
    /// Widgets one below the other.
    ///
    /// ```no_run
    /// use dds::widgets::{Button, IntSlider, VBox};
    /// let (n, go) = (IntSlider::new(0..=9), Button::new("Go"));
    /// dds::display(&VBox::new((&n, &go)));
    /// ```
    VBox, VBOX
}
container! {
    /// Widgets side by side.
    HBox, HBOX
}
container! {
    /// Widgets in a grid, which its [`Layout`](super::Layout) describes.
    GridBox, GRID_BOX
}
container! {
    /// Widgets on pages, of which one is seen, with a tab for each.
    Tab, TAB
}
container! {
    /// Widgets below each other, of which one is unfolded, or none.
    Accordion, ACCORDION
}

macro_rules! paged {
    ($($name:ident)*) => { $(
        impl $name {
            words! {
                /// The words above the pages.
                titles set_titles get_titles
            }

            /// Which page is seen, from 0; none for none.
            #[must_use]
            pub fn selected_index(self, index: impl Into<Option<usize>>) -> Self {
                self.set_selected_index(index);
                self
            }

            /// Turns to another page later.
            pub fn set_selected_index(&self, index: impl Into<Option<usize>>) {
                self.0.set("selected_index", Json::from(index.into()));
            }

            pub fn get_selected_index(&self) -> Option<usize> {
                self.0.get("selected_index")
            }

            /// Sets the words for one page.
            pub fn set_title(&self, page: usize, title: impl Into<String>) {
                let mut titles = self.get_titles();
                if let Some(place) = titles.get_mut(page) {
                    *place = title.into();
                    self.set_titles(titles);
                }
            }

            /// Runs `function` when another page is seen; see [`IntSlider::on_change`] for where.
            ///
            /// [`IntSlider::on_change`]: super::IntSlider::on_change
            pub fn on_select(&self, mut function: impl FnMut(Option<usize>) + Send + 'static) {
                self.0.on_value("selected_index", move |index: Option<usize>| function(index));
            }
        }
    )* };
}
paged!(Tab Accordion);
