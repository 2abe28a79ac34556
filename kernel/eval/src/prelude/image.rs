//! Pictures of the crate `image`, as PNG. For cells; see `DISPLAYS`.

pub trait DdsImage { fn dds_show(&self); }
impl DdsImage for ::dds::show::Value<'_, ::image::DynamicImage> {
    fn dds_show(&self) {
        let image = self.get();
        let mut png = ::std::io::Cursor::new(::std::vec::Vec::new());
        let text = format!("{} × {} pixels, {:?}", image.width(), image.height(), image.color());
        match image.write_to(&mut png, ::image::ImageFormat::Png) {
            Ok(()) => ::dds::show::bundle(::dds::Mime::png(png.into_inner()).text(text)),
            Err(error) => ::dds::show::bundle(::dds::Mime::text(format!("{text}, no PNG: {error}"))),
        }
    }
}
pub trait DdsImageBuffer { fn dds_show(&self); }
impl<P, C> DdsImageBuffer for ::dds::show::Value<'_, ::image::ImageBuffer<P, C>>
where
    P: ::image::Pixel + ::image::PixelWithColorType,
    [P::Subpixel]: ::image::EncodableLayout,
    C: ::std::ops::Deref<Target = [P::Subpixel]>,
{
    fn dds_show(&self) {
        let image = self.get();
        let mut png = ::std::io::Cursor::new(::std::vec::Vec::new());
        let text = format!("{} × {} pixels, {:?}", image.width(), image.height(), P::COLOR_TYPE);
        match image.write_to(&mut png, ::image::ImageFormat::Png) {
            Ok(()) => ::dds::show::bundle(::dds::Mime::png(png.into_inner()).text(text)),
            Err(error) => ::dds::show::bundle(::dds::Mime::text(format!("{text}, no PNG: {error}"))),
        }
    }
}
