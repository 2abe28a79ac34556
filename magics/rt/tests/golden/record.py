"""Prints what ipywidgets sends when each widget is made; see README.md."""
import base64, importlib.metadata, json, sys
import comm
sent = []
class Recorder(comm.base_comm.BaseComm):
    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        sent.append({"type": msg_type, "comm_id": self.comm_id, "data": data, "metadata": metadata,
                     "buffers": [base64.b64encode(bytes(b)).decode() for b in buffers or []], **keys})
import ipywidgets.widgets.widget as base
base.comm.create_comm = lambda *a, **k: Recorder(*a, **k)
import ipywidgets as w

CASES = {
    "IntSlider": lambda: w.IntSlider(),
    "IntSlider set": lambda: w.IntSlider(value=5, min=-10, max=10, step=2, description="n", orientation="vertical", readout=False, disabled=True, continuous_update=False, tooltip="tip"),
    "FloatSlider": lambda: w.FloatSlider(),
    "FloatSlider set": lambda: w.FloatSlider(value=0.5, min=0, max=1, step=0.01, readout_format=".3f"),
    "Text": lambda: w.Text(),
    "Text set": lambda: w.Text(value="a", placeholder="name", continuous_update=False),
    "Textarea": lambda: w.Textarea(),
    "Textarea set": lambda: w.Textarea(value="a\nb", rows=7),
    "Checkbox": lambda: w.Checkbox(),
    "Checkbox set": lambda: w.Checkbox(value=True, description="yes", indent=False),
    "Dropdown": lambda: w.Dropdown(options=["a", "b"]),
    "Dropdown set": lambda: w.Dropdown(options=["a", "b"], value="b", description="pick"),
    "Dropdown empty": lambda: w.Dropdown(),
    "ToggleButtons": lambda: w.ToggleButtons(options=["a", "b"]),
    "ToggleButtons set": lambda: w.ToggleButtons(options=["a", "b"], index=1, tooltips=["A", "B"], icons=["check", "x"], button_style="info"),
    "Button": lambda: w.Button(),
    "Button set": lambda: w.Button(description="Go", icon="check", button_style="success", disabled=True, tooltip="start"),
    "FileUpload": lambda: w.FileUpload(),
    "FileUpload set": lambda: w.FileUpload(accept="image/*", multiple=True, description="Pictures"),
    "Image": lambda: w.Image(),
    "Image set": lambda: w.Image(value=b"\x89PNG", format="png", width=100, height="50"),
    "HTML": lambda: w.HTML(),
    "HTML set": lambda: w.HTML("<b>x</b>", placeholder="p", description="d"),
    "Label": lambda: w.Label(),
    "Label set": lambda: w.Label("x"),
    "IntProgress": lambda: w.IntProgress(),
    "IntProgress set": lambda: w.IntProgress(value=3, min=1, max=10, bar_style="danger", orientation="vertical"),
    "FloatProgress": lambda: w.FloatProgress(),
    "Output": lambda: w.Output(),
    "VBox": lambda: w.VBox(),
    "VBox set": lambda: w.VBox([w.Label("a"), w.Label("b")], box_style="info"),
    "HBox": lambda: w.HBox(),
    "GridBox": lambda: w.GridBox(),
    "Tab": lambda: w.Tab(),
    "Tab set": lambda: w.Tab([w.Label("a"), w.Label("b")], titles=["x", "y"], selected_index=1),
    "Accordion": lambda: w.Accordion(),
    "Accordion set": lambda: w.Accordion([w.Label("a")], titles=["x"], selected_index=0),
    "Layout set": lambda: w.Layout(width="50%", grid_template_columns="1fr 1fr", border="1px solid"),
    "styled": lambda: w.IntSlider(style={"description_width": "initial", "handle_color": "lightblue"}, layout={"width": "300px"}),
    "styled button": lambda: w.Button(style={"button_color": "red", "font_weight": "bold", "text_color": "white"}),
    "styled progress": lambda: w.IntProgress(style={"bar_color": "black", "description_width": "4em"}),
}
out = {}
for name, make in CASES.items():
    sent.clear()
    kept = make()
    opens = [m for m in sent if m["type"] == "comm_open"]
    number = {m["comm_id"]: i for i, m in enumerate(opens)}
    text = json.dumps([{"state": m["data"]["state"], "buffer_paths": m["data"]["buffer_paths"], "buffers": m["buffers"],
                        "metadata": m["metadata"], "target": m["target_name"]} for m in opens])
    for i, n in number.items():
        text = text.replace("IPY_MODEL_" + i, f"IPY_MODEL_{n}")
    out[name] = json.loads(text)
    extra = [m for m in sent if m["type"] != "comm_open"]
    assert not extra, (name, extra)
if __name__ == "__main__":
    shared, cases = {}, {}
    for name, models in out.items():
        cases[name] = []
        for m in models:
            key = json.dumps(m, sort_keys=True)
            if m["state"]["_model_name"] in ("LayoutModel",) and all(v is None for k, v in m["state"].items() if not k.startswith("_")):
                shared["default layout"] = m
                cases[name].append("default layout")
            else:
                cases[name].append(m)
    doc = {"source": "ipywidgets " + importlib.metadata.version("ipywidgets"), "shared": shared, "cases": cases}
    json.dump(doc, sys.stdout, indent=1, sort_keys=True)
    print()
