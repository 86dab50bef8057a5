//! The stable public codes, in one table. `web/error.rs` gives each its HTTP status; docs and the
//! OpenAPI document list them from here.

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $title:literal;)*) => {
        /// A stable code of the API: programs may branch on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $code,)* }
            }

            /// One line for people: RFC 9457's `title`.
            pub fn title(self) -> &'static str {
                match self { $(ErrorCode::$variant => $title,)* }
            }
        }
    };
}

error_codes! {
    InvalidRequest = "invalid_request", "The request is not valid";
    Unauthenticated = "unauthenticated", "No valid credential was sent";
    EmailNotVerified = "email_not_verified", "The account's address is not verified yet";
    InsufficientScope = "insufficient_scope", "The credential may not do this";
    SignupClosed = "signup_closed", "This server does not take new accounts";
    NotFound = "not_found", "There is nothing here";
    ProviderNotFound = "provider_not_found", "No such provider";
    IntegrationNotFound = "integration_not_found", "The provider is not enabled";
    ConnectionNotFound = "connection_not_found", "This end user has not connected";
    ApiKeyNotFound = "api_key_not_found", "No such API key";
    MethodNotAllowed = "method_not_allowed", "The method does not fit the path";
    ReauthorizationRequired = "reauthorization_required", "The end user must connect again";
    AccountMismatch = "account_mismatch", "Another account of the provider is connected here";
    Conflict = "conflict", "Somebody else changed this at the same moment";
    LinkExpired = "link_expired", "The link was used or has expired";
    StateInvalid = "state_invalid", "The authorization was used, has expired or was started elsewhere";
    TicketInvalid = "ticket_invalid", "The ticket was used, has expired or is not yours";
    EndUserMismatch = "end_user_mismatch", "The end user is not the one who was to connect";
    AccessDenied = "access_denied", "The end user declined";
    ExchangeFailed = "exchange_failed", "The provider did not accept the authorization";
    CodeInvalid = "code_invalid", "The code is wrong or has expired";
    PayloadTooLarge = "payload_too_large", "The request is too large";
    UnsupportedMediaType = "unsupported_media_type", "The body is neither a form nor JSON";
    LimitReached = "limit_reached", "A limit of this account is reached";
    RateLimited = "rate_limited", "Too many attempts";
    IntegrationBroken = "integration_broken", "The provider refuses your client";
    ProviderUnavailable = "provider_unavailable", "The provider does not answer as it should";
    StoreUnavailable = "store_unavailable", "The store cannot be reached";
    RestoreMode = "restore_mode", "Refreshes are held back until the operator resumes";
    ShuttingDown = "shutting_down", "The server is stopping";
    Internal = "internal", "Something went wrong on our side";
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    #[test]
    fn codes_are_distinct() {
        let mut codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
    }
}
