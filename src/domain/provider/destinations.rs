//! Where a provider's secrets go: what may not change under credentials that were given for it, nor under grants that
//! were obtained with it. Somebody who may write definitions and never see a secret would else have them sent to himself.

use super::ProviderSpec;
use super::param::ParamSpec;
use super::request::RequestSpec;
use super::response::ResponseSpec;
use super::template::UrlTemplate;

/// The first part of `after` that would send secrets elsewhere than `before`, or take other parts of an answer for
/// tokens. The authorize URL is none: it is told nothing but the client's id.
pub fn moved(before: &ProviderSpec, after: &ProviderSpec) -> Option<String> {
    let known = |at: &str| before.requests().find(|(known, _)| known == at).map(|(_, request)| request);
    let stays =
        |at: &str, request: &RequestSpec| known(at).is_some_and(|old| leads_alike((before, &old.url), (after, &request.url)));
    let sent = after.requests().find(|(at, request)| !stays(at, request)).map(|(at, _)| format!("{at}.url"));
    let answers = [
        ("response", &before.response, &after.response),
        ("refresh.response", &before.refresh.response, &after.refresh.response),
    ];
    sent.or_else(|| answers.into_iter().find(|(_, old, new)| !reads_alike(old, new)).map(|(at, ..)| at.to_owned()))
}

/// The same URL, and what fills its holes may come from the same hands and be the same.
fn leads_alike((before, old): (&ProviderSpec, &UrlTemplate), (after, new): (&ProviderSpec, &UrlTemplate)) -> bool {
    let alike = |name: &str| match name.strip_prefix("callback.") {
        Some(kept) => before.callback.hosts.get(kept) == after.callback.hosts.get(kept),
        None => match (before.param_of(name), after.param_of(name)) {
            (Some(old), Some(new)) => fills_alike(old, new),
            (old, new) => old.is_none() && new.is_none(),
        },
    };
    old == new && new.names().into_iter().all(alike)
}

fn fills_alike(old: &ParamSpec, new: &ParamSpec) -> bool {
    let pattern = |param: &ParamSpec| param.pattern.as_ref().map(|pattern| pattern.as_str().to_owned());
    (&old.kind, old.needed_by, &old.default, pattern(old)) == (&new.kind, new.needed_by, &new.default, pattern(new))
}

fn reads_alike(old: &ResponseSpec, new: &ResponseSpec) -> bool {
    let sets = |response: &ResponseSpec| response.sets.iter().map(|set| (set.name.clone(), set.at.clone())).collect::<Vec<_>>();
    let (was, is) = (&old.fields, &new.fields);
    let tokens_alike =
        (&was.access_token, &was.refresh_token, &was.token_secret) == (&is.access_token, &is.refresh_token, &is.token_secret);
    tokens_alike && sets(old) == sets(new)
}
