//! What `INFO` tells of a server: which process answers, and which history its data belong to.

/// The answer to `INFO`, whole or in part.
#[derive(Clone, Copy)]
pub struct Info<'a>(pub &'a str);

impl<'a> Info<'a> {
    pub fn field(self, name: &str) -> Option<&'a str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }
}

/// One server at one moment; a field is `None` where the server does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Another with each start of the process.
    run: Option<String>,
    /// Another with each promotion.
    history: Option<String>,
    /// The history that it carried as a replica, until it was promoted.
    inherited: Option<String>,
    pub replica: bool,
}

impl Identity {
    pub fn read(info: Info<'_>) -> Self {
        let known = |name| info.field(name).filter(|id| !id.bytes().all(|digit| digit == b'0')).map(str::to_owned);
        Self {
            run: known("run_id"),
            history: known("master_replid"),
            inherited: known("master_replid2"),
            replica: info.field("role") == Some("slave"),
        }
    }

    /// What a part of `INFO` told later, down the same connection: the process is the same.
    pub fn later(&self, info: Info<'_>) -> Self {
        Self { run: self.run.clone(), ..Self::read(info) }
    }

    pub fn same_process(&self, other: &Self) -> bool {
        self.run == other.run
    }

    /// Whether these are the data that were there `before`. A primary that meets its first replica, or has
    /// had none for long, begins a new history over the same data; then it inherits nothing.
    pub fn goes_on_from(&self, before: &Self) -> bool {
        self.same_process(before) && (self.history == before.history || self.inherited.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(run: &str, history: &str, inherited: &str) -> Identity {
        let info = format!(
            "# Server\r\nrun_id:{run}\r\n# Replication\r\nrole:master\r\nmaster_replid:{history}\r\nmaster_replid2:{inherited}\r\n"
        );
        Identity::read(Info(&info))
    }

    #[test]
    fn data_go_on_in_the_same_process_unless_it_was_promoted() {
        let before = identity("a1", "b1", "0000");
        for (after, goes_on) in [
            (identity("a1", "b1", "0000"), true),
            (identity("a2", "b1", "0000"), false),
            (identity("a1", "b2", "b1"), false),
            (identity("a1", "b2", "c1"), false),
            (identity("a1", "b2", "0000"), true),
        ] {
            assert_eq!(after.goes_on_from(&before), goes_on, "{after:?}");
        }
        let promoted = identity("a1", "b2", "b1");
        assert!(promoted.goes_on_from(&promoted));
    }

    #[test]
    fn a_part_of_the_answer_speaks_of_the_same_process() {
        let before = identity("a1", "b1", "0000");
        let part = |text| before.later(Info(text));
        assert!(part("role:master\r\nmaster_replid:b1\r\n").goes_on_from(&before));
        assert!(!part("role:master\r\nmaster_replid:b2\r\nmaster_replid2:b1\r\n").goes_on_from(&before));
        assert!(part("role:slave\r\nmaster_replid:b1\r\n").replica);
    }
}
