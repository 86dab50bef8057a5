//! An install that begins at the provider (an app store's button): what its file says of the browser that comes
//! without a flow of ours. It never connects anybody; it is how a flow is asked for.

use std::collections::BTreeMap;

/// The `[install]` block. Where callbacks are signed, so are installs.
#[derive(Debug, Clone, Default)]
pub struct InstallSpec {
    /// Settings of the link that the provider already names.
    pub params: BTreeMap<String, InstallParam>,
}

/// Where the value of a link's setting stands.
#[derive(Debug, Clone)]
pub struct InstallParam {
    /// The param of the provider's request.
    pub from: String,
    /// What its value must end in, which is no part of the setting.
    pub suffix: String,
}
