//! What each model of ipywidgets 8 is made of: its names, attributes, first values, and which of
//! them the front end may change.
//!
//! Source: the states that ipywidgets 8.1 sends (`tests/golden`), and its `controls` 2.0.0,
//! `base` 2.0.0 and `output` 1.0.0 model definitions. The front end may change only what a person
//! changes by using the widget: never a limit, a label or what a picture shows.

/// The package of the front end that a model lives in.
#[derive(Clone, Copy)]
pub(super) enum Module {
    Base,
    Controls,
    Output,
}

impl Module {
    pub(super) fn name(self) -> &'static str {
        match self {
            Module::Base => "@jupyter-widgets/base",
            Module::Controls => "@jupyter-widgets/controls",
            Module::Output => "@jupyter-widgets/output",
        }
    }

    pub(super) fn version(self) -> &'static str {
        match self {
            Module::Base | Module::Controls => "2.0.0",
            Module::Output => "1.0.0",
        }
    }
}

/// What is taken from the front end for an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    Nothing,
    Bool,
    Int,
    Float,
    Text,
    /// A place in the attribute named, which is a list; or null.
    PlaceIn(&'static str),
    /// A count that is not negative, or null.
    Count,
    /// Files with their bytes in buffers. Never sent back.
    Files,
}

/// The value of an attribute that nobody has set.
#[derive(Clone, Copy)]
pub(super) enum Start {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'static str),
    List,
    Bytes,
    Files,
    Models,
}

pub(super) struct Attr {
    pub name: &'static str,
    pub start: Start,
    pub take: Take,
    /// Changes in loops: the front end is told of it only so often.
    pub paced: bool,
}

/// What must hold between the attributes of a model.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Free,
    /// `min` ≤ `value` ≤ `max`.
    Range,
    /// `index` is a place in `_options_labels`, and null only when that is empty.
    Choice,
    /// `selected_index` is a place in `children`, or null.
    Pages,
}

pub(super) struct Spec {
    /// Name in Rust; with `Model` behind it the name of the model.
    pub name: &'static str,
    pub module: Module,
    pub view: &'static str,
    pub view_module: Module,
    pub attrs: &'static [&'static [Attr]],
    /// Whether the model has a layout of its own.
    pub layout: bool,
    pub style: Option<&'static Spec>,
    pub rule: Rule,
}

impl Spec {
    pub(super) fn model_name(&self) -> String {
        format!("{}Model", self.name)
    }

    pub(super) fn attr(&self, name: &str) -> Option<&'static Attr> {
        self.attrs().find(|attr| attr.name == name)
    }

    pub(super) fn attrs(&self) -> impl Iterator<Item = &'static Attr> {
        let style = if self.style.is_some() { STYLE } else { &[] };
        self.attrs.iter().copied().flatten().chain(style)
    }
}

const fn attr(name: &'static str, start: Start) -> Attr {
    Attr { name, start, take: Take::Nothing, paced: false }
}

/// What the front end may change.
const fn open(name: &'static str, start: Start, take: Take) -> Attr {
    Attr { name, start, take, paced: false }
}

const fn paced(name: &'static str, start: Start) -> Attr {
    Attr { name, start, take: Take::Nothing, paced: true }
}

use Start::{Bool, Bytes, Files, Float, Int, List, Models, Null, Text};

/// Of every model.
const MODEL: &[Attr] = &[open("_view_count", Null, Take::Count)];
/// Of every model with a view of its own.
const DOM: &[Attr] =
    &[attr("_dom_classes", List), attr("layout", Null), attr("tabbable", Null), attr("tooltip", Null)];
/// Of every model with a style.
const STYLE: &[Attr] = &[attr("style", Null)];
const DESCRIBED: &[Attr] = &[attr("description", Text("")), attr("description_allow_html", Bool(false))];
const DISABLED: &[Attr] = &[attr("disabled", Bool(false))];
/// A zero-width space: keeps the line's height where there is no text.
const PLACEHOLDER: &[Attr] = &[attr("placeholder", Text("\u{200b}"))];
const BOX: &[Attr] = &[attr("box_style", Text("")), attr("children", Models)];
const SLIDER: &[Attr] = &[
    attr("behavior", Text("drag-tap")),
    attr("continuous_update", Bool(true)),
    attr("orientation", Text("horizontal")),
    attr("readout", Bool(true)),
];
const INT_RANGE: &[Attr] = &[attr("min", Int(0)), attr("max", Int(100))];
const FLOAT_RANGE: &[Attr] = &[attr("min", Float(0.0)), attr("max", Float(100.0))];
const PROGRESS: &[Attr] = &[attr("bar_style", Text("")), attr("orientation", Text("horizontal"))];
const TEXT: &[Attr] = &[attr("continuous_update", Bool(true)), open("value", Text(""), Take::Text)];
const SHOWN_TEXT: &[Attr] = &[attr("value", Text(""))];
const CHOICE: &[Attr] =
    &[attr("_options_labels", List), open("index", Null, Take::PlaceIn("_options_labels"))];
const PAGES: &[Attr] = &[open("selected_index", Null, Take::PlaceIn("children")), attr("titles", List)];

/// A model of `controls` with layout and style.
const fn control(
    name: &'static str,
    view: &'static str,
    attrs: &'static [&'static [Attr]],
    style: &'static Spec,
    rule: Rule,
) -> Spec {
    let module = Module::Controls;
    Spec { name, module, view, view_module: module, attrs, layout: true, style: Some(style), rule }
}

pub(super) static INT_SLIDER: Spec = control(
    "IntSlider",
    "IntSliderView",
    &[
        MODEL,
        DOM,
        DESCRIBED,
        DISABLED,
        SLIDER,
        INT_RANGE,
        &[attr("readout_format", Text("d")), attr("step", Int(1)), open("value", Int(0), Take::Int)],
    ],
    &SLIDER_STYLE,
    Rule::Range,
);

pub(super) static FLOAT_SLIDER: Spec = control(
    "FloatSlider",
    "FloatSliderView",
    &[
        MODEL,
        DOM,
        DESCRIBED,
        DISABLED,
        SLIDER,
        FLOAT_RANGE,
        &[
            attr("readout_format", Text(".2f")),
            attr("step", Float(0.1)),
            open("value", Float(0.0), Take::Float),
        ],
    ],
    &SLIDER_STYLE,
    Rule::Range,
);

pub(super) static INT_PROGRESS: Spec = control(
    "IntProgress",
    "ProgressView",
    &[MODEL, DOM, DESCRIBED, PROGRESS, INT_RANGE, &[paced("value", Int(0))]],
    &PROGRESS_STYLE,
    Rule::Range,
);

pub(super) static FLOAT_PROGRESS: Spec = control(
    "FloatProgress",
    "ProgressView",
    &[MODEL, DOM, DESCRIBED, PROGRESS, FLOAT_RANGE, &[paced("value", Float(0.0))]],
    &PROGRESS_STYLE,
    Rule::Range,
);

pub(super) static TEXT_LINE: Spec = control(
    "Text",
    "TextView",
    &[MODEL, DOM, DESCRIBED, DISABLED, PLACEHOLDER, TEXT],
    &TEXT_STYLE,
    Rule::Free,
);

pub(super) static TEXTAREA: Spec = control(
    "Textarea",
    "TextareaView",
    &[MODEL, DOM, DESCRIBED, DISABLED, PLACEHOLDER, TEXT, &[attr("rows", Null)]],
    &TEXT_STYLE,
    Rule::Free,
);

pub(super) static LABEL: Spec = control(
    "Label",
    "LabelView",
    &[MODEL, DOM, DESCRIBED, PLACEHOLDER, SHOWN_TEXT],
    &LABEL_STYLE,
    Rule::Free,
);

pub(super) static HTML: Spec =
    control("HTML", "HTMLView", &[MODEL, DOM, DESCRIBED, PLACEHOLDER, SHOWN_TEXT], &HTML_STYLE, Rule::Free);

pub(super) static CHECKBOX: Spec = control(
    "Checkbox",
    "CheckboxView",
    &[MODEL, DOM, DESCRIBED, DISABLED, &[attr("indent", Bool(true)), open("value", Bool(false), Take::Bool)]],
    &CHECKBOX_STYLE,
    Rule::Free,
);

pub(super) static DROPDOWN: Spec = control(
    "Dropdown",
    "DropdownView",
    &[MODEL, DOM, DESCRIBED, DISABLED, CHOICE],
    &DESCRIPTION_STYLE,
    Rule::Choice,
);

pub(super) static TOGGLE_BUTTONS: Spec = control(
    "ToggleButtons",
    "ToggleButtonsView",
    &[
        MODEL,
        DOM,
        DESCRIBED,
        DISABLED,
        CHOICE,
        &[attr("button_style", Text("")), attr("icons", List), attr("tooltips", List)],
    ],
    &TOGGLE_BUTTONS_STYLE,
    Rule::Choice,
);

pub(super) static BUTTON: Spec = control(
    "Button",
    "ButtonView",
    &[
        MODEL,
        DOM,
        DISABLED,
        &[attr("button_style", Text("")), attr("description", Text("")), attr("icon", Text(""))],
    ],
    &BUTTON_STYLE,
    Rule::Free,
);

pub(super) static FILE_UPLOAD: Spec = control(
    "FileUpload",
    "FileUploadView",
    &[
        MODEL,
        DOM,
        DISABLED,
        &[
            attr("accept", Text("")),
            attr("button_style", Text("")),
            attr("description", Text("Upload")),
            attr("description_allow_html", Bool(false)),
            open("error", Text(""), Take::Text),
            attr("icon", Text("upload")),
            attr("multiple", Bool(false)),
            open("value", Files, Take::Files),
        ],
    ],
    &BUTTON_STYLE,
    Rule::Free,
);

/// A model with layout and without style.
const fn plain(
    name: &'static str,
    module: Module,
    view: &'static str,
    attrs: &'static [&'static [Attr]],
    rule: Rule,
) -> Spec {
    Spec { name, module, view, view_module: module, attrs, layout: true, style: None, rule }
}

pub(super) static IMAGE: Spec = plain(
    "Image",
    Module::Controls,
    "ImageView",
    &[
        MODEL,
        DOM,
        &[
            attr("format", Text("png")),
            attr("height", Text("")),
            attr("value", Bytes),
            attr("width", Text("")),
        ],
    ],
    Rule::Free,
);

pub(super) static OUTPUT: Spec = plain(
    "Output",
    Module::Output,
    "OutputView",
    &[MODEL, DOM, &[attr("msg_id", Text("")), paced("outputs", List)]],
    Rule::Free,
);

const BOXED: &[&[Attr]] = &[MODEL, DOM, BOX];
const PAGED: &[&[Attr]] = &[MODEL, DOM, BOX, PAGES];
pub(super) static VBOX: Spec = plain("VBox", Module::Controls, "VBoxView", BOXED, Rule::Free);
pub(super) static HBOX: Spec = plain("HBox", Module::Controls, "HBoxView", BOXED, Rule::Free);
pub(super) static GRID_BOX: Spec = plain("GridBox", Module::Controls, "GridBoxView", BOXED, Rule::Free);
pub(super) static TAB: Spec = plain("Tab", Module::Controls, "TabView", PAGED, Rule::Pages);
pub(super) static ACCORDION: Spec = plain("Accordion", Module::Controls, "AccordionView", PAGED, Rule::Pages);

/// A style: lives in `controls`, its view in `base`.
const fn style(name: &'static str, attrs: &'static [&'static [Attr]]) -> Spec {
    Spec {
        name,
        module: Module::Controls,
        view: "StyleView",
        view_module: Module::Base,
        attrs,
        layout: false,
        style: None,
        rule: Rule::Free,
    }
}

const DESCRIPTION_WIDTH: &[Attr] = &[attr("description_width", Text(""))];
const TEXT_LOOK: &[Attr] = &[attr("background", Null), attr("font_size", Null), attr("text_color", Null)];
const FONT: &[Attr] = &[
    attr("font_family", Null),
    attr("font_size", Null),
    attr("font_style", Null),
    attr("font_variant", Null),
    attr("font_weight", Null),
    attr("text_color", Null),
    attr("text_decoration", Null),
];
static SLIDER_STYLE: Spec = style("SliderStyle", &[MODEL, DESCRIPTION_WIDTH, &[attr("handle_color", Null)]]);
static PROGRESS_STYLE: Spec = style("ProgressStyle", &[MODEL, DESCRIPTION_WIDTH, &[attr("bar_color", Null)]]);
static DESCRIPTION_STYLE: Spec = style("DescriptionStyle", &[MODEL, DESCRIPTION_WIDTH]);
static TEXT_STYLE: Spec = style("TextStyle", &[MODEL, DESCRIPTION_WIDTH, TEXT_LOOK]);
static HTML_STYLE: Spec = style("HTMLStyle", &[MODEL, DESCRIPTION_WIDTH, TEXT_LOOK]);
static LABEL_STYLE: Spec =
    style("LabelStyle", &[MODEL, DESCRIPTION_WIDTH, FONT, &[attr("background", Null)]]);
static CHECKBOX_STYLE: Spec =
    style("CheckboxStyle", &[MODEL, DESCRIPTION_WIDTH, &[attr("background", Null)]]);
static BUTTON_STYLE: Spec = style("ButtonStyle", &[MODEL, FONT, &[attr("button_color", Null)]]);
static TOGGLE_BUTTONS_STYLE: Spec = style(
    "ToggleButtonsStyle",
    &[MODEL, DESCRIPTION_WIDTH, &[attr("button_width", Text("")), attr("font_weight", Text(""))]],
);

macro_rules! css {
    ($($name:literal)*) => { &[MODEL, &[$(attr($name, Null)),*]] };
}

pub(super) static LAYOUT: Spec = Spec {
    name: "Layout",
    module: Module::Base,
    view: "LayoutView",
    view_module: Module::Base,
    attrs: css!(
        "align_content" "align_items" "align_self" "border_bottom" "border_left" "border_right"
        "border_top" "bottom" "display" "flex" "flex_flow" "grid_area" "grid_auto_columns"
        "grid_auto_flow" "grid_auto_rows" "grid_column" "grid_gap" "grid_row" "grid_template_areas"
        "grid_template_columns" "grid_template_rows" "height" "justify_content" "justify_items"
        "left" "margin" "max_height" "max_width" "min_height" "min_width" "object_fit"
        "object_position" "order" "overflow" "padding" "right" "top" "visibility" "width"
    ),
    layout: false,
    style: None,
    rule: Rule::Free,
};
