//! What one route promises: the one source of the router's table, of the check of query
//! parameters, of `/openapi.json` and of `/docs`.

use axle_domain::Role;

/// A query parameter or request header.
#[derive(Debug)]
pub(crate) struct Parameter {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its JSON schema, as JSON.
    pub(crate) schema: &'static str,
    /// What it means.
    pub(crate) description: &'static str,
}

/// The body that a route takes.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// Name of its schema.
    pub(crate) schema: &'static str,
    /// Media types.
    pub(crate) media: &'static [&'static str],
    /// Whether it must be there.
    pub(crate) is_required: bool,
}

/// An answer that is no error.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// What it means.
    pub(crate) description: &'static str,
    /// Name of the schema of its body; `None` without a body.
    pub(crate) schema: Option<&'static str>,
    /// Media types of its body, the default first.
    pub(crate) media: &'static [&'static str],
}

/// One method of one path.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Unique name.
    pub(crate) id: &'static str,
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub(crate) method: &'static str,
    /// The whole path, variables in braces.
    pub(crate) path: &'static str,
    /// The chapter of the documentation.
    pub(crate) tag: &'static str,
    /// One line.
    pub(crate) summary: &'static str,
    /// The rest.
    pub(crate) description: &'static str,
    /// Who may: scopes of a token, in words.
    pub(crate) rights: &'static str,
    /// Which people may ask at all: [`EVERYONE`], [`STAFF`], [`OPERATORS`] or [`ADMINISTRATORS`].
    /// Checked before the handler runs; whose devices they are, the handler asks.
    pub(crate) roles: &'static [Role],
    /// Query parameters.
    pub(crate) query: &'static [Parameter],
    /// Request headers with a meaning of their own.
    pub(crate) headers: &'static [Parameter],
    /// The request body.
    pub(crate) body: Option<RequestBody>,
    /// Answers that are no errors.
    pub(crate) replies: &'static [Reply],
    /// Statuses of its errors beside 400, 401, 429, 500 and 503.
    pub(crate) problems: &'static [u16],
}

/// An operation without parameters, body and answers, to be completed with `..`.
pub(crate) const OPERATION: Operation = Operation {
    id: "",
    method: "GET",
    path: "",
    tag: "",
    summary: "",
    description: "",
    rights: "any token",
    // Whoever adds a route says whether more people may use it.
    roles: OPERATORS,
    query: &[],
    headers: &[],
    body: None,
    replies: &[],
    problems: &[],
};

/// Every role. The handler shows a household its own devices alone.
pub(crate) const EVERYONE: &[Role] = &Role::ALL;
/// Who reads every device.
pub(crate) const STAFF: &[Role] = &[Role::Admin, Role::Operator, Role::Support];
/// Who may change what is said of devices.
pub(crate) const OPERATORS: &[Role] = &[Role::Admin, Role::Operator];
/// Who decides on people and tokens.
pub(crate) const ADMINISTRATORS: &[Role] = &[Role::Admin];

/// JSON alone.
pub(crate) const JSON: &[&str] = &["application/json"];

/// A JSON answer.
pub(crate) const fn reply(status: u16, schema: &'static str, description: &'static str) -> Reply {
    Reply { status, description, schema: Some(schema), media: JSON }
}

/// A JSON body that must be there.
pub(crate) const fn json_body(schema: &'static str) -> Option<RequestBody> {
    Some(RequestBody { schema, media: JSON, is_required: true })
}

/// `limit` of lists.
pub(crate) const LIMIT: Parameter = Parameter {
    name: "limit",
    schema: r#"{"type":"integer","minimum":1,"maximum":1000,"default":100}"#,
    description: "Most items of the page.",
};

/// Tells writes apart.
pub(crate) const IF_MATCH: Parameter = Parameter {
    name: "If-Match",
    schema: r#"{"type":"string"}"#,
    description: "Only if the entry still has this `ETag`; else 412.",
};
