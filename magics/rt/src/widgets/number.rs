//! Numbers in a range: sliders to choose them, bars to show them.

use super::any::AnyWidget;
use super::spec::{FLOAT_PROGRESS, FLOAT_SLIDER, INT_PROGRESS, INT_SLIDER};
use super::typed::{Look, Orientation, style, valued, widget};
use super::value::Typed;
use std::ops::RangeInclusive;

widget! {
    /// A slider for whole numbers.
    ///
    /// ```no_run
    /// use dds::widgets::IntSlider;
    /// let n = IntSlider::new(0..=100).value(5).description("n");
    /// n.on_change(|n| println!("{n} squared is {}", n * n));
    /// dds::display(&n);
    /// ```
    IntSlider [described disabled sized] {
        /// Is brought into the range.
        value set_value get_value: i64;
        /// Above `max` it moves that too.
        min set_min get_min: i64;
        /// Below `min` it moves that too.
        max set_max get_max: i64;
        step set_step get_step: i64;
        orientation set_orientation: String = Orientation;
        /// Whether the value is told while the handle moves, or only when it is let go.
        continuous_update set_continuous_update: bool;
        /// Whether the value is written beside the slider.
        readout set_readout: bool;
        /// How, in d3's words: `d`, `,`, `.3s`.
        readout_format set_readout_format: String;
        /// `tap`, `drag`, `drag-tap`, `snap`, …
        behavior set_behavior: String;
    }
}
valued!(IntSlider: i64);

impl IntSlider {
    pub fn new(range: RangeInclusive<i64>) -> IntSlider {
        IntSlider(ranged(&INT_SLIDER, range))
    }

    style! {
        /// Colour of the handle, in CSS.
        handle_color set_handle_color
    }
}

widget! {
    /// A slider for numbers with a fraction.
    FloatSlider [described disabled sized] {
        /// Is brought into the range.
        value set_value get_value: f64;
        /// Above `max` it moves that too.
        min set_min get_min: f64;
        /// Below `min` it moves that too.
        max set_max get_max: f64;
        step set_step get_step: f64;
        orientation set_orientation: String = Orientation;
        /// Whether the value is told while the handle moves, or only when it is let go.
        continuous_update set_continuous_update: bool;
        /// Whether the value is written beside the slider.
        readout set_readout: bool;
        /// How, in d3's words: `.2f`, `.3s`, `.0%`.
        readout_format set_readout_format: String;
        /// `tap`, `drag`, `drag-tap`, `snap`, …
        behavior set_behavior: String;
    }
}
valued!(FloatSlider: f64);

impl FloatSlider {
    pub fn new(range: RangeInclusive<f64>) -> FloatSlider {
        FloatSlider(ranged(&FLOAT_SLIDER, range))
    }

    style! {
        /// Colour of the handle, in CSS.
        handle_color set_handle_color
    }
}

widget! {
    /// A bar that fills up in whole steps. Set its value as often as you like: the page is told at
    /// most 20 times a second, and always of the last value.
    IntProgress [described sized] {
        /// Is brought into the range.
        value set_value get_value: i64;
        /// Above `max` it moves that too.
        min set_min get_min: i64;
        /// Below `min` it moves that too.
        max set_max get_max: i64;
        bar_style set_bar_style: String = Look;
        orientation set_orientation: String = Orientation;
    }
}
valued!(IntProgress: i64);

impl IntProgress {
    pub fn new(range: RangeInclusive<i64>) -> IntProgress {
        IntProgress(ranged(&INT_PROGRESS, range))
    }

    style! {
        /// Colour of the bar, in CSS.
        bar_color set_bar_color
    }
}

widget! {
    /// A bar that fills up smoothly; otherwise as [`IntProgress`].
    FloatProgress [described sized] {
        /// Is brought into the range.
        value set_value get_value: f64;
        /// Above `max` it moves that too.
        min set_min get_min: f64;
        /// Below `min` it moves that too.
        max set_max get_max: f64;
        bar_style set_bar_style: String = Look;
        orientation set_orientation: String = Orientation;
    }
}
valued!(FloatProgress: f64);

impl FloatProgress {
    pub fn new(range: RangeInclusive<f64>) -> FloatProgress {
        FloatProgress(ranged(&FLOAT_PROGRESS, range))
    }

    style! {
        /// Colour of the bar, in CSS.
        bar_color set_bar_color
    }
}

/// An empty range is the one number it starts with.
fn ranged<T: Typed>(spec: &'static super::spec::Spec, range: RangeInclusive<T>) -> AnyWidget {
    let widget = AnyWidget::new(spec);
    let (min, max) = range.into_inner();
    widget.set_all(vec![("max", max.to_value()), ("min", min.to_value())]);
    widget
}
