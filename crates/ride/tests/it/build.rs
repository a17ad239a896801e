//! Small files, made here.

/// Seconds of FIT at 2026-11-20T10:00:00Z.
pub(crate) const START: u32 = 1_795_168_800 - 631_065_600;
pub(crate) const START_MICROS: i64 = 1_795_168_800 * 1_000_000;

pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 16] = [
        0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401, 0xA001, 0x6C00, 0x7800,
        0xB401, 0x5000, 0x9C01, 0x8801, 0x4400,
    ];
    bytes.iter().fold(0, |sum, byte| {
        [byte & 15, byte >> 4].into_iter().fold(sum, |sum: u16, half| {
            (sum >> 4) ^ TABLE[usize::from(sum & 15)] ^ TABLE[usize::from(half)]
        })
    })
}

/// Messages on their way to a file.
#[derive(Clone, Default)]
pub(crate) struct Fit(pub(crate) Vec<u8>);

impl Fit {
    /// A definition of little-endian fields (number, bytes, base type).
    pub(crate) fn define(self, local: u8, message: u16, fields: &[(u8, u8, u8)]) -> Self {
        self.define_all(local, (message, false), fields, &[])
    }

    pub(crate) fn define_all(
        mut self,
        local: u8,
        (message, is_big): (u16, bool),
        fields: &[(u8, u8, u8)],
        developer: &[(u8, u8, u8)],
    ) -> Self {
        let flag = if developer.is_empty() { 0x40 } else { 0x60 };
        self.0.extend([flag | local, 0, u8::from(is_big)]);
        self.0.extend(if is_big { message.to_be_bytes() } else { message.to_le_bytes() });
        for fields in [fields, developer].into_iter().filter(|list| !list.is_empty()) {
            self.0.push(fields.len() as u8);
            fields.iter().for_each(|(number, bytes, kind)| self.0.extend([*number, *bytes, *kind]));
        }
        self
    }

    pub(crate) fn data(mut self, local: u8, parts: &[&[u8]]) -> Self {
        self.0.push(local);
        parts.iter().for_each(|part| self.0.extend(*part));
        self
    }

    /// With header and checksum.
    pub(crate) fn file(self) -> Vec<u8> {
        let mut file = vec![14, 0x20, 0x54, 0x08];
        file.extend((self.0.len() as u32).to_le_bytes());
        file.extend(b".FIT");
        file.extend(checksum(&file).to_le_bytes());
        file.extend(self.0);
        file.extend(checksum(&file).to_le_bytes());
        file
    }
}

/// Fields of a ride's record: time, latitude, longitude, speed, heart rate.
pub(crate) const RECORD: [(u8, u8, u8); 5] =
    [(253, 4, 0x86), (0, 4, 0x85), (1, 4, 0x85), (6, 2, 0x84), (3, 1, 0x02)];

pub(crate) fn record(fit: Fit, second: u32) -> Fit {
    let step = second.cast_signed() * 600;
    fit.data(
        0,
        &[
            &(START + second).to_le_bytes(),
            &(573_000_000 + step).to_le_bytes(),
            &(137_000_000 + step).to_le_bytes(),
            &5500_u16.to_le_bytes(),
            &[140],
        ],
    )
}

/// A ride of so many seconds.
pub(crate) fn ride(seconds: u32) -> Fit {
    let fit = Fit::default().define(0, 20, &RECORD);
    (0..seconds).fold(fit, record)
}

/// A track of so many points, one a second.
pub(crate) fn track(points: usize) -> String {
    let mut text = "<?xml version=\"1.0\"?>\n<gpx version=\"1.1\"><trk><trkseg>\n".to_owned();
    for point in 0..points {
        let (minute, second) = (point / 60, point % 60);
        let lat = 48.0 + point as f64 * 1e-4;
        text.push_str(&format!(
            "<trkpt lat=\"{lat:.6}\" lon='11.5'><ele>520.5</ele>\
             <time>2026-11-20T10:{minute:02}:{second:02}Z</time><extensions>\
             <gpxtpx:TrackPointExtension><gpxtpx:hr>140</gpxtpx:hr><gpxtpx:cad>80</gpxtpx:cad>\
             <gpxtpx:atemp>-1.5</gpxtpx:atemp><gpxtpx:speed>5</gpxtpx:speed>\
             <gpxtpx:bearing>12.5</gpxtpx:bearing></gpxtpx:TrackPointExtension>\
             <power>200</power></extensions></trkpt>\n"
        ));
    }
    text.push_str("</trkseg></trk></gpx>\n");
    text
}
