// A provider of OpenID Connect with sockets and pages of its own.
import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

const b64 = (v: object) => Buffer.from(JSON.stringify(v)).toString('base64url');

export class Issuer {
  url = '';
  /** The claims of who signs on. */
  person: Record<string, unknown> = {};
  readonly #keys = generateKeyPairSync('rsa', { modulusLength: 2048 });
  readonly #codes = new Map<string, URLSearchParams>();
  #server: Server | undefined;

  async start() {
    this.#server = createServer((req, res) => {
      void this.#answer(req).then(({ status = 200, type = 'application/json', body }) => {
        res.writeHead(status, { 'Content-Type': type }).end(body);
      });
    });
    await new Promise<void>((done) => this.#server!.listen(0, '127.0.0.1', done));
    this.url = `http://localhost:${(this.#server!.address() as AddressInfo).port}`; // another site than the broker's
  }

  close() {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  async #answer(req: IncomingMessage): Promise<{ status?: number; type?: string; body: string }> {
    const url = new URL(req.url!, this.url);
    switch (url.pathname) {
      case '/.well-known/openid-configuration':
        return { body: JSON.stringify({ issuer: this.url, authorization_endpoint: `${this.url}/authorize`, token_endpoint: `${this.url}/token`, jwks_uri: `${this.url}/keys`, end_session_endpoint: `${this.url}/logout` }) };
      case '/keys':
        return { body: JSON.stringify({ keys: [{ ...this.#keys.publicKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'one' }] }) };
      case '/favicon.ico':
        return { status: 204, body: '' };
      case '/authorize':
        return { type: 'text/html', body: this.#page(url.searchParams) };
      case '/logout':
        return { type: 'text/html', body: `<!doctype html><title>Issuer</title><h1>You are logged out of ${url.searchParams.get('client_id')}</h1><a href="${url.searchParams.get('post_logout_redirect_uri')}">Back</a>` };
      case '/token':
        return this.#token(req);
    }
    return { status: 404, body: '{}' };
  }

  #page(asked: URLSearchParams) {
    const code = randomUUID();
    this.#codes.set(code, asked);
    const back = (q: Record<string, string>) => `${asked.get('redirect_uri')}?${new URLSearchParams({ ...q, state: asked.get('state')! })}`.replaceAll('&', '&amp;');
    return `<!doctype html><title>Issuer</title><h1>Who are you?</h1><a href="${back({ code })}">Continue</a> <a href="${back({ error: 'access_denied' })}">Cancel</a>`;
  }

  async #token(req: IncomingMessage) {
    let text = '';
    for await (const chunk of req) text += String(chunk);
    const form = new URLSearchParams(text);
    const code = form.get('code') ?? '';
    const asked = this.#codes.get(code);
    this.#codes.delete(code);
    const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
    if (!asked || asked.get('code_challenge') !== challenge || asked.get('redirect_uri') !== form.get('redirect_uri')) return { status: 400, body: '{"error":"invalid_grant"}' };
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: this.url, aud: 'console', iat: now, exp: now + 300, nonce: asked.get('nonce'), ...this.person };
    const head = `${b64({ alg: 'RS256', kid: 'one' })}.${b64(claims)}`;
    const id = `${head}.${sign('sha256', Buffer.from(head), this.#keys.privateKey).toString('base64url')}`;
    return { body: JSON.stringify({ access_token: 'x', token_type: 'Bearer', id_token: id }) };
  }
}
