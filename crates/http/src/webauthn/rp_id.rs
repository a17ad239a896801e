//! The name under which authenticators know this server.

/// The name for a request's `Host`, in lower case: `localhost` and names under it, and the
/// configured ones. `None` for an address of numbers, to which browsers bind no passkeys, and for
/// a name that nobody has said to be ours.
pub(crate) fn rp_id(host: &str, names: &[String]) -> Option<String> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    if name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let is_local = name == "localhost" || name.ends_with(".localhost");
    let is_ours = is_local || names.iter().any(|ours| ours.eq_ignore_ascii_case(name));
    is_ours.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::rp_id;

    #[test]
    fn only_names_of_ours_are_names() {
        let names = ["Axle.Example.com".to_owned(), "10.0.0.1".to_owned()];
        for (host, expected) in [
            ("localhost:8080", Some("localhost")),
            ("localhost", Some("localhost")),
            ("a.localhost:1", Some("a.localhost")),
            ("axle.example.com", Some("axle.example.com")),
            ("axle.example.com:443", Some("axle.example.com")),
            ("evil.example.com", None),
            ("notlocalhost", None),
            ("127.0.0.1:8080", None),
            ("10.0.0.1", None),
            ("[::1]:8080", None),
            ("", None),
        ] {
            assert_eq!(rp_id(host, &names).as_deref(), expected, "{host}");
        }
    }
}
