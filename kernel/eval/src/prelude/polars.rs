//! Tables of the crate `polars`. For cells; see `DISPLAYS`.

pub trait DdsPolars { fn dds_show(&self); }
impl DdsPolars for ::dds::show::Value<'_, ::polars::prelude::DataFrame> {
    fn dds_show(&self) {
        let frame = self.get();
        let columns = frame.get_columns();
        let names = columns.iter().map(|column| column.name().to_string()).collect();
        ::dds::show::bundle(::dds::show::grid(
            format!("{:?}", frame),
            Some(names),
            frame.height(),
            columns.len(),
            &|row, column| columns[column].get(row).map_or(::std::string::String::new(), |value| format!("{}", value)),
        ));
    }
}
