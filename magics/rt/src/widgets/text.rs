//! Text: to type, and to read.

use super::any::AnyWidget;
use super::spec::{HTML as HTML_SPEC, LABEL, TEXT_LINE, TEXTAREA};
use super::typed::{style, valued, widget};

widget! {
    /// A field for one line of text.
    Text [described disabled sized] {
        value set_value get_value: String;
        /// Shown in grey while the field is empty.
        placeholder set_placeholder: String;
        /// Whether the value is told with every key, or only when the field is left.
        continuous_update set_continuous_update: bool;
    }
}
valued!(Text: String);

impl Text {
    pub fn new() -> Text {
        Text(AnyWidget::new(&TEXT_LINE))
    }

    /// Runs `function` with the text when the user presses Enter.
    pub fn on_submit(&self, mut function: impl FnMut(String) + Send + 'static) {
        let me = self.0.downgrade();
        self.0.on_event("submit", move || {
            if let Some(me) = me.upgrade() {
                function(me.get("value"));
            }
        });
    }

    style! {
        text_color set_text_color
        font_size set_font_size
        background set_background
    }
}

impl Default for Text {
    fn default() -> Text {
        Text::new()
    }
}

widget! {
    /// A field for several lines of text.
    Textarea [described disabled sized] {
        value set_value get_value: String;
        /// Shown in grey while the field is empty.
        placeholder set_placeholder: String;
        /// Whether the value is told with every key, or only when the field is left.
        continuous_update set_continuous_update: bool;
        /// Height in lines.
        rows set_rows: Option<i64> = i64;
    }
}
valued!(Textarea: String);

impl Textarea {
    pub fn new() -> Textarea {
        Textarea(AnyWidget::new(&TEXTAREA))
    }

    style! {
        text_color set_text_color
        font_size set_font_size
        background set_background
    }
}

impl Default for Textarea {
    fn default() -> Textarea {
        Textarea::new()
    }
}

widget! {
    /// A line of text to read.
    Label [described sized] {
        value set_value get_value: String;
    }
}
valued!(Label: String);

impl Label {
    pub fn new(value: impl Into<String>) -> Label {
        let label = Label(AnyWidget::new(&LABEL));
        label.set_value(value);
        label
    }

    style! {
        text_color set_text_color
        font_size set_font_size
        font_weight set_font_weight
        font_family set_font_family
        font_style set_font_style
        background set_background
    }
}

widget! {
    /// HTML to read. The page does not run scripts in it.
    HTML [described sized] {
        value set_value get_value: String;
        /// Shown while the value is empty.
        placeholder set_placeholder: String;
    }
}
valued!(HTML: String);

impl HTML {
    pub fn new(value: impl Into<String>) -> HTML {
        let html = HTML(AnyWidget::new(&HTML_SPEC));
        html.set_value(value);
        html
    }

    style! {
        text_color set_text_color
        font_size set_font_size
        background set_background
    }
}
