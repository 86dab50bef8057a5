// A provider that nobody here wrote, set to be strict: PKCE, short tokens, refresh tokens that work
// once and whose second use ends the grant. Loopback only; what it knows is gone when it ends.
//
//   node server.mjs [--access-token-ttl SECONDS]
//
// Prints `READY <issuer>` and ends when its standard input closes, so that it never outlives a test.

import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import Provider from 'oidc-provider';

const { values } = parseArgs({ options: { 'access-token-ttl': { type: 'string', default: '3600' } } });
const accessTokenTtl = Number(values['access-token-ttl']);
if (!Number.isInteger(accessTokenTtl) || accessTokenTtl < 1) {
  throw new Error('--access-token-ttl takes whole seconds, at least 1');
}

const client = (id, method, secret = `${id}-secret`) => ({
  client_id: id,
  client_secret: secret,
  token_endpoint_auth_method: method,
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  redirect_uris: ['http://127.0.0.1/'],
});

// The key of RFC 7515 A.3, whose private half the test has.
const key = {
  kty: 'EC',
  crv: 'P-256',
  x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
  y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  use: 'sig',
  kid: 'of-the-test',
};

const configuration = {
  // Tests move a clock of their own ahead, and assertions are dated by it.
  clockTolerance: 7 * 86400,
  clients: [
    client('client-post', 'client_secret_post'),
    client('client-basic', 'client_secret_basic'),
    client('client:odd', 'client_secret_basic', 'a secret: 100%+&=/?'),
    client('client-public', 'none', undefined),
    { ...client('client-key', 'private_key_jwt', undefined), jwks: { keys: [key] } },
    client('client-shared', 'client_secret_jwt', 'a secret of both sides, of 32 bytes or more'),
  ],
  scopes: ['openid', 'offline_access', 'read', 'write'],
  claims: { openid: ['sub'] },
  cookies: { keys: ['for tests only'] },
  features: {
    devInteractions: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true },
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  issueRefreshToken: () => true,
  pkce: { methods: ['S256'], required: () => true },
  rotateRefreshToken: true,
  ttl: { AccessToken: accessTokenTtl, AuthorizationCode: 60, Grant: 86400, Interaction: 600, RefreshToken: 86400, Session: 86400 },
};

const stats = { exchanged: 0, refreshed: 0, refused: 0, grants_revoked: 0 };

function watch(provider) {
  provider.on('grant.success', (ctx) => {
    stats[ctx.oidc.params.grant_type === 'refresh_token' ? 'refreshed' : 'exchanged'] += 1;
  });
  provider.on('grant.error', () => { stats.refused += 1; });
  provider.on('grant.revoked', () => { stats.grants_revoked += 1; });
}

// A test learns its redirect address only after this has started, so any on loopback will do.
function allowLoopbackRedirects(provider) {
  provider.Client.prototype.redirectUriAllowed = (address) => {
    const { protocol, hostname } = new URL(address);
    return protocol === 'http:' && ['127.0.0.1', 'localhost'].includes(hostname);
  };
}

// Some providers take the token request as JSON. This one does not, so its form is made here; a form is
// refused, so that no test passes by sending one.
async function jsonToForm(request, response, issuer) {
  let body = '';
  for await (const part of request) body += part;
  if (request.headers['content-type'] !== 'application/json') {
    response.writeHead(415).end();
    return;
  }
  const { authorization } = request.headers;
  const answer = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: authorization === undefined ? {} : { authorization },
    body: new URLSearchParams(JSON.parse(body)),
  });
  response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
}

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  watch(provider);
  allowLoopbackRedirects(provider);
  const answer = provider.callback();
  server.on('request', (request, response) => {
    if (request.url === '/shim/token') {
      jsonToForm(request, response, issuer);
      return;
    }
    if (request.url !== '/stats') {
      answer(request, response);
      return;
    }
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(stats));
  });
  console.log(`READY ${issuer}`);
});

process.stdin.resume();
process.stdin.on('close', () => process.exit(0));
