//! Arrays of the crate `ndarray` of one or two dimensions, as tables. For cells; see `DISPLAYS`.

pub trait DdsNdarray { fn dds_show(&self); }
impl<S, D> DdsNdarray for ::dds::show::Value<'_, ::ndarray::ArrayBase<S, D>>
where
    S: ::ndarray::Data,
    S::Elem: ::std::fmt::Debug,
    D: ::ndarray::Dimension,
{
    fn dds_show(&self) {
        let array = self.get().view().into_dyn();
        let text = format!("{:?}", array);
        let bundle = match *array.shape() {
            [rows] => ::dds::show::grid(text, None, rows, 1, &|row, _| format!("{:?}", array[&[row][..]])),
            [rows, columns] => {
                ::dds::show::grid(text, None, rows, columns, &|row, column| format!("{:?}", array[&[row, column][..]]))
            }
            _ => ::dds::Mime::text(text),
        };
        ::dds::show::bundle(bundle);
    }
}
