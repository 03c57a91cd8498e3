//! Times and sizes as people type them.

/// `90`, `90s`, `5m`, `1h30m`, `2d`, `500ms`: seconds.
///
/// # Errors
/// When it is no positive length of time.
pub fn seconds(text: &str) -> Result<f64, String> {
    let seconds = of_parts(text, &[("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)], 1.0);
    positive(seconds.ok_or("not a length of time, such as 90 (seconds), 5m or 1h30m")?)
}

/// `1000`, `1000ms`, `2s`, `1m`, and AFL++'s `1000+`: milliseconds.
///
/// # Errors
/// When it is not a millisecond at least.
pub fn millis(text: &str) -> Result<u64, String> {
    let parts = [("ms", 1.0), ("s", 1000.0), ("m", 60_000.0), ("h", 3_600_000.0)];
    let millis = of_parts(text.strip_suffix('+').unwrap_or(text), &parts, 1.0);
    let millis = positive(millis.ok_or("not a length of time, such as 1000 (milliseconds) or 2s")?)?;
    if millis < 1.0 { Err("less than a millisecond".into()) } else { Ok(millis as u64) }
}

/// `2048`, `512M`, `2G`, `none`: mebibytes; 0 for none.
///
/// # Errors
/// When it is no size, or larger than any memory.
pub fn mebibytes(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(0);
    }
    let bare = text.strip_suffix(['B', 'b']).filter(|bare| !bare.ends_with(|c: char| c.is_ascii_digit()));
    let bare = bare.unwrap_or(text).to_ascii_lowercase();
    let bare = bare.strip_suffix('i').unwrap_or(&bare);
    let parts = [("k", 1.0 / 1024.0), ("m", 1.0), ("g", 1024.0), ("t", 1024.0 * 1024.0)];
    let size = of_parts(bare, &parts, 1.0).ok_or("not a size, such as 2048 (MiB), 2G or none")?;
    match size.ceil() {
        size if (0.0..=f64::from(1 << 24)).contains(&size) => Ok(size as u64),
        _ => Err("not a size that memory has".into()),
    }
}

/// `1..=1024` engines.
///
/// # Errors
/// When it is no number, or none that makes sense here.
pub fn workers(text: &str) -> Result<u16, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match text.parse() {
        Ok(workers @ 1..=1024) => Ok(workers),
        Ok(0) => Err(format!("no engine runs nothing; this machine has {cores} cores, so say -j {cores} for all")),
        _ => Err(format!("not a number from 1 to 1024; this machine has {cores} cores")),
    }
}

fn positive(number: f64) -> Result<f64, String> {
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("not more than 0".into()) }
}

/// Sums up numbers, each followed by a unit; one alone may have none and then counts as `bare`.
fn of_parts(text: &str, units: &[(&str, f64)], bare: f64) -> Option<f64> {
    if let Ok(number) = text.parse::<f64>() {
        return Some(number * bare);
    }
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| end + at);
        let (_, scale) = units.iter().find(|(unit, _)| *unit == &rest[end..unit_end])?;
        sum += number * scale;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_type_them() {
        for (text, expect) in [
            ("1.5", 1.5),
            ("90s", 90.0),
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("2d", 172_800.0),
            ("1.5h", 5400.0),
            ("500ms", 0.5),
        ] {
            assert_eq!(seconds(text), Ok(expect), "{text}");
        }
        for text in ["", "0", "-1", "inf", "NaN", "x", "5x", "m", "5 m", "1h-5m", "later", "5mm", "é"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        for (text, expect) in [("1000", 1000), ("1000+", 1000), ("2s", 2000), ("250ms", 250), ("1m", 60_000)] {
            assert_eq!(millis(text), Ok(expect), "{text}");
        }
        assert!(["0", "0.1", "soon", "-5", "1e", "+"].iter().all(|text| millis(text).is_err()));
    }

    #[test]
    fn sizes_are_read_as_people_type_them() {
        for (text, expect) in [
            ("2048", 2048),
            ("0", 0),
            ("none", 0),
            ("2G", 2048),
            ("512M", 512),
            ("512MB", 512),
            ("1GiB", 1024),
            ("1k", 1),
        ] {
            assert_eq!(mebibytes(text), Ok(expect), "{text}");
        }
        assert!(["", "x", "-5", "1X", "99999T", "NaN", "B"].iter().all(|text| mebibytes(text).is_err()));
    }

    #[test]
    fn engines_are_counted() {
        assert_eq!(workers("8"), Ok(8));
        assert!(workers("0").unwrap_err().contains("-j "));
        assert!(["-1", "many", "2000", ""].iter().all(|text| workers(text).is_err()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            let _ = (seconds(&text), millis(&text), mebibytes(&text), workers(&text));
        }
    }
}
