// Another provider that nobody here wrote: it asks nobody, takes any client, checks PKCE, and signs what
// it issues. Loopback only; what it knows is gone when it ends.
//
//   node mock.mjs
//
// Prints `READY <issuer>` and ends when its standard input closes, so that it never outlives a test.

import { OAuth2Server } from 'oauth2-mock-server';

const server = new OAuth2Server();
await server.issuer.keys.generate('RS256');
await server.start(0, '127.0.0.1');
const issuer = `http://127.0.0.1:${server.address().port}`;
server.issuer.url = issuer;
console.log(`READY ${issuer}`);

process.stdin.resume();
process.stdin.on('close', () => process.exit(0));
