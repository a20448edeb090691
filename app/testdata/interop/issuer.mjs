// An OpenID provider for interop_test.go: oidc-provider as it comes, with one client, whoever signs in having the address that they
// type. It prints its address, and ends with its input.
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const { CLIENT_ID, CLIENT_SECRET, CALLBACK, RESPONSE_MODE } = process.env;

let handle;
const server = createServer((request, response) => {
  // Some issuers answer by a form whatever they were asked for.
  if (RESPONSE_MODE && request.url.startsWith('/auth?')) request.url += '&response_mode=' + RESPONSE_MODE;
  handle(request, response);
});
server.listen(0, '127.0.0.1', () => {
  const issuer = 'http://localhost:' + server.address().port;
  const provider = new Provider(issuer, {
    clients: [{ client_id: CLIENT_ID, client_secret: CLIENT_SECRET, redirect_uris: [CALLBACK], response_types: ['code'], grant_types: ['authorization_code'] }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: 'subject of ' + id, email: id, email_verified: true, name: 'Ada Lovelace' }),
    }),
  });
  handle = provider.callback();
  console.log('listening on ' + issuer);
});
process.stdin.on('end', () => process.exit()).resume();
