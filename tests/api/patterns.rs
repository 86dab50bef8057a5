//! A tenant writes the patterns that its own providers' params must match: whatever it writes is refused or
//! costs little.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::world::{TestApp, text};

/// No request may take longer, on a machine as busy as one that runs tests. A backtracking matcher would need years for
/// most of what is tried here.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST: usize = 5_000;

fn definition(patterns: &[String]) -> String {
    let mut text = "name = \"Ours\"\n[authorize]\nurl = \"https://acme.example/a\"\npkce = \"off\"\n[token]\nurl = \"https://acme.example/t\"\n[refresh]\nclass = \"none\"\n".to_owned();
    for (n, pattern) in patterns.iter().enumerate() {
        let param = format!(
            "title = \"P\"\nkind = \"text\"\nneeded_by = \"link\"\noptional = true\nmax_length = {LONGEST}\nexample = \"\"\n"
        );
        write!(text, "[params.p{n}]\n{param}pattern = {}\n", json!(pattern)).unwrap();
    }
    text
}

/// What makes a matcher that tries one way after the other go back again and again, or that grows when it is compiled.
fn hostile() -> Vec<Vec<String>> {
    let alone = [
        "(a+)+",
        "(a|a)*",
        "(a|aa)+b",
        "([a-zA-Z]+)*!?b",
        "(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)[^a]",
        "((a*)*)*b",
        "(a?){100}a{100}",
        "(?:a?){30}a{30}.*b",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        "a{1000000}",
        "(a{1000}){1000}",
        "((a{100}){100}){100}",
        "(((((((((a{10}){10}){10}){10}){10}){10}){10}){10}){10})",
        "(?:){4294967295}",
        "a{99999999999999999999}",
        "\\w{500}",
    ];
    let nested = format!("{}a{}", "(".repeat(10_000), ")*".repeat(10_000));
    let long = format!("{}b", "a*".repeat(20_000));
    let choices = vec!["a"; 30_000].join("|");
    let deep_class = "[a&&".repeat(5_000);
    let mut all: Vec<Vec<String>> = alone.iter().map(|pattern| vec![(*pattern).to_owned()]).collect();
    all.extend([nested, long, choices, deep_class, "(?:".repeat(20_000)].map(|pattern| vec![pattern]));
    // Many at once.
    all.push(vec!["(a+)+b".to_owned(); 90]);
    all.push(vec!["(a?){90}a{90}".to_owned(); 90]);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hostile_pattern_is_refused_or_costs_little() {
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let values = ["a".repeat(LONGEST), format!("{}!", "a".repeat(LONGEST - 1)), "ab".repeat(LONGEST / 2)];
    let (mut refused, mut taken, mut slowest) = (0, 0, Duration::ZERO);
    for patterns in hostile() {
        let what: String = patterns[0].chars().take(60).collect();
        let began = Instant::now();
        let body = json!({ "provider": "ours", "definition": definition(&patterns) });
        let (status, said) = tenant.post("/define-provider", body).await;
        slowest = slowest.max(began.elapsed());
        if status != 200 {
            assert_eq!((status, said["code"].as_str()), (400, Some("invalid_request")), "{what}: {said}");
            assert!(text(&said["detail"]).contains("params.p") && text(&said["detail"]).len() < 20_000, "{what}: {said}");
            refused += 1;
            continue;
        }
        taken += 1;
        tenant.enable("ours", "read").await;
        for value in &values {
            let began = Instant::now();
            let mut link = json!({ "end_user_id": "alice" });
            // As many as a request's body may have.
            (0..patterns.len().min(12)).for_each(|n| link[format!("p{n}")] = json!(value));
            let (status, said) = tenant.post("/authorize-ours", link).await;
            assert!(status == 200 || status == 400, "{what}: {said}");
            slowest = slowest.max(began.elapsed());
            assert!(slowest < PATIENCE, "{what} took {slowest:?}");
        }
    }
    assert!(refused >= 8 && taken >= 8, "{refused} refused, {taken} taken");
    println!("{refused} refused, {taken} taken; the slowest took {slowest:?}");
}

/// Every pattern counts: what one may have alone, many may not have each.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_patterns_of_a_file_share_their_room() {
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let large = "[a-z]{300}".to_owned();
    for (count, expected) in [(1, 200), (90, 400)] {
        let body = json!({ "provider": "ours", "definition": definition(&vec![large.clone(); count]) });
        let (status, said) = tenant.post("/define-provider", body).await;
        assert_eq!(status, expected, "{count}: {said}");
    }
}
