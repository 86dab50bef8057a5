//! What the sandbox says about itself, and that all its descriptions agree.

use claviger::services::sandbox::scopes::SandboxScope;
use claviger::services::sandbox::{ACCOUNTS, Sandbox};

use crate::world::World;

#[tokio::test]
async fn page_metadata_and_paper_describe_the_same_scopes() {
    let world = World::start().await;
    let page = world.get("/").await;
    let metadata = world.get("/.well-known/oauth-authorization-server").await.json();
    let paper = include_str!("../../docs/sandbox.md");
    assert_eq!(page.status, 200);
    for scope in SandboxScope::ALL {
        let (name, does) = (scope.as_str(), scope.description());
        assert!(page.text.contains(&format!("<tr><td><code>{name}</code></td><td>{does}</td></tr>")), "{name} on the page");
        assert!(paper.contains(&format!("| `{name}` | {does} |")), "{name} in docs/sandbox.md");
        assert_eq!(metadata["scope_descriptions"][name], does);
    }
    assert_eq!(metadata["scopes_supported"].as_array().unwrap().len(), SandboxScope::ALL.len());
    assert_eq!(paper.lines().filter(|line| line.starts_with("| `")).count(), SandboxScope::ALL.len(), "no scope but these");
    for (name, full) in ACCOUNTS {
        assert!(page.text.contains(full) && paper.contains(full) && paper.contains(&format!("`{name}`")), "{name}");
    }
}

#[tokio::test]
async fn metadata_names_endpoints_that_are_there() {
    let world = World::start().await;
    let metadata = world.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["issuer"], world.base);
    for (name, status) in [
        ("authorization_endpoint", 400),
        ("token_endpoint", 405),
        ("revocation_endpoint", 405),
        ("userinfo_endpoint", 401),
        ("service_documentation", 200),
    ] {
        let url = metadata[name].as_str().unwrap();
        let path = url.strip_prefix(&world.base).unwrap();
        assert_eq!(world.get(path).await.status, status, "{name}");
    }
    let list = |name: &str| metadata[name].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(list("response_types_supported"), ["code"]);
    assert_eq!(list("code_challenge_methods_supported"), ["S256"]);
    assert_eq!(list("grant_types_supported"), ["authorization_code", "refresh_token"]);
    assert_eq!(list("token_endpoint_auth_methods_supported"), ["client_secret_basic", "client_secret_post"]);
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
}

#[tokio::test]
async fn health_and_unknown_addresses() {
    let world = World::start().await;
    let health = world.get("/healthz").await;
    assert_eq!((health.status, health.text.as_str()), (200, "ok\n"));
    assert_eq!(world.get("/admin").await.status, 404);
    assert_eq!(world.post("/healthz", &[]).await.status, 405);
}

#[tokio::test]
async fn an_issuer_is_kept_without_its_last_slash() {
    let world = World::start().await;
    struct Never;
    impl claviger::ports::entropy::Entropy for Never {
        fn fill(&self, _: &mut [u8]) -> Result<(), claviger::ports::entropy::EntropyError> {
            Err(claviger::ports::entropy::EntropyError("asked for none".to_owned()))
        }
    }
    let sandbox =
        Sandbox::new(world.kv.clone(), world.clock.clone(), std::sync::Arc::new(Never), "https://sandbox.example/".into());
    assert_eq!(sandbox.issuer(), "https://sandbox.example");
}
