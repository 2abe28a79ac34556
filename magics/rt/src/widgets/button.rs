//! Buttons.

use super::any::AnyWidget;
use super::spec::BUTTON;
use super::typed::{Look, style, widget};

widget! {
    /// A button.
    ///
    /// ```no_run
    /// use dds::widgets::Button;
    /// let go = Button::new("Go").icon("check");
    /// let mut clicks = 0;
    /// go.on_click(move || {
    ///     clicks += 1;
    ///     println!("{clicks}");
    /// });
    /// dds::display(&go);
    /// ```
    Button [disabled sized] {
        /// The words on it.
        description set_description get_description: String;
        /// The name of a Font Awesome icon.
        icon set_icon: String;
        button_style set_button_style: String = Look;
    }
}

impl Button {
    pub fn new(description: impl Into<String>) -> Button {
        let button = Button(AnyWidget::new(&BUTTON));
        button.set_description(description);
        button
    }

    /// Runs `function` with each click; see [`IntSlider::on_change`] for where.
    ///
    /// [`IntSlider::on_change`]: super::IntSlider::on_change
    pub fn on_click(&self, function: impl FnMut() + Send + 'static) {
        self.0.on_event("click", function);
    }

    style! {
        /// Colour of the button, in CSS.
        button_color set_button_color
        text_color set_text_color
        font_weight set_font_weight
        font_size set_font_size
    }
}
