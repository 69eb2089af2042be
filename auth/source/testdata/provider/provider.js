// An OpenID Connect provider on loopback. It reads one line of JSON from stdin:
//
//   port      to listen on; 0 takes a free one
//   keys      private JWKs, or {alg, kid} of one to make; the first that fits an algorithm signs, all are published
//   audience  of its access tokens
//   claims    that its access tokens carry besides its own
//
// and writes one when it listens: {issuer, port, keys}, the keys private again, for a later life. It lives until stdin
// ends. Its client is "ringstore" with the secret "ringstore", for the grant client_credentials; the resource
// https://metric-store.example.org/ALG gives a JWT access token (RFC 9068) signed with ALG.

import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { exportJWK, generateKeyPair } from 'jose';

console.info = console.error; // stdout is for the answer
const { default: Provider } = await import('oidc-provider');

const lines = createInterface({ input: process.stdin });
lines.once('close', () => process.exit(0));
const order = JSON.parse(await new Promise((resolve) => lines.once('line', resolve)));

const keys = await Promise.all(order.keys.map(async (key) => {
  if (key.kty) return key;
  const { privateKey } = await generateKeyPair(key.alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), ...key, use: 'sig' };
}));

const server = createServer();
await new Promise((resolve) => server.listen(order.port, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const base = 'https://metric-store.example.org/';

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'ringstore', client_secret: 'ringstore', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    token_endpoint_auth_method: 'client_secret_post',
  }],
  jwks: { keys },
  cookies: { keys: ['none are set'] },
  ttl: { ClientCredentials: 600 },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_ctx, resource) => ({
        audience: order.audience, scope: '', accessTokenFormat: 'jwt', jwt: { sign: { alg: resource.slice(base.length) } },
      }),
    },
  },
  formats: {
    customizers: { jwt: (_ctx, _token, jwt) => { Object.assign(jwt.payload, order.claims); } },
  },
});
server.on('request', provider.callback());
process.stdout.write(`${JSON.stringify({ issuer, port: server.address().port, keys })}\n`);
