//! Where widgets are and how large, in the words of CSS.

use super::any::AnyWidget;
use super::spec::LAYOUT;
use std::fmt::{self, Debug, Formatter};

/// The layout of one widget, or of several that share it. Attributes are CSS properties with `_`
/// for `-`, their values CSS; see ipywidgets for what each does.
///
/// ```no_run
/// use dds::widgets::{GridBox, Label, Layout};
/// let grid = Layout::new().grid_template_columns("1fr 1fr").width("50%");
/// GridBox::new([Label::new("a"), Label::new("b")]).layout(grid);
/// ```
#[derive(Clone, PartialEq)]
pub struct Layout(AnyWidget);

impl Layout {
    pub fn new() -> Layout {
        Layout(AnyWidget::new(&LAYOUT))
    }

    pub(super) fn of(model: AnyWidget) -> Layout {
        Layout(model)
    }

    pub(super) fn any(&self) -> AnyWidget {
        self.0.clone()
    }

    /// All four sides at once, such as `1px solid gray`.
    #[must_use]
    pub fn border(self, border: impl Into<String>) -> Layout {
        self.set_border(border);
        self
    }

    /// Changes all four borders later.
    pub fn set_border(&self, border: impl Into<String>) {
        use super::value::Typed;
        let border: String = border.into();
        let sides = ["border_top", "border_right", "border_bottom", "border_left"];
        self.0.set_all(sides.map(|side| (side, border.clone().to_value())).into());
    }
}

impl Default for Layout {
    fn default() -> Layout {
        Layout::new()
    }
}

impl Debug for Layout {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, out)
    }
}

macro_rules! css {
    ($($build:ident $set:ident)*) => {
        impl Layout { $(
            #[must_use]
            pub fn $build(self, value: impl Into<String>) -> Layout {
                self.$set(value);
                self
            }

            #[doc = concat!("Changes `", stringify!($build), "` later.")]
            pub fn $set(&self, value: impl Into<String>) {
                let value: String = value.into();
                self.0.set(stringify!($build), value);
            }
        )* }
    };
}

css! {
    align_content set_align_content
    align_items set_align_items
    align_self set_align_self
    border_bottom set_border_bottom
    border_left set_border_left
    border_right set_border_right
    border_top set_border_top
    bottom set_bottom
    display set_display
    flex set_flex
    flex_flow set_flex_flow
    grid_area set_grid_area
    grid_auto_columns set_grid_auto_columns
    grid_auto_flow set_grid_auto_flow
    grid_auto_rows set_grid_auto_rows
    grid_column set_grid_column
    grid_gap set_grid_gap
    grid_row set_grid_row
    grid_template_areas set_grid_template_areas
    grid_template_columns set_grid_template_columns
    grid_template_rows set_grid_template_rows
    height set_height
    justify_content set_justify_content
    justify_items set_justify_items
    left set_left
    margin set_margin
    max_height set_max_height
    max_width set_max_width
    min_height set_min_height
    min_width set_min_width
    object_fit set_object_fit
    object_position set_object_position
    order set_order
    overflow set_overflow
    padding set_padding
    right set_right
    top set_top
    visibility set_visibility
    width set_width
}
