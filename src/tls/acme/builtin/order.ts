import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { createGate } from '../../../util/gate.ts';
import type { Challenge, ChallengeResponder } from '../challenge.ts';
import type { CertificateOrder } from '../issuer.ts';
import { makeSigningRequest } from '../signing-request.ts';
import { AcmeProblemError, type AcmeResponse, problemOf } from '../transport.ts';
import type { Session } from './session.ts';

/** PEM. */
export interface IssuedCertificate {
  /** The certificate and, after it, its chain. */
  readonly cert: string;
  readonly key: string;
}

/** @see https://www.rfc-editor.org/rfc/rfc8555#section-7.1.4 */
interface Authorization {
  readonly status: string;
  readonly identifier: { readonly value: string };
  readonly challenges: readonly {
    readonly type: string;
    readonly url: string;
    readonly token: string;
    readonly error?: unknown;
  }[];
}

type Json = Readonly<Record<string, unknown>>;

/** Requests at once for the authorizations of an order. Let's Encrypt allows 20 a second. */
const AT_ONCE = 10;
/** States of an order or authorization that the authority will change by itself. */
const UNFINISHED = new Set<unknown>(['pending', 'processing']);

/**
 * Opens the account, and creates it if the authority does not know its key.
 *
 * @returns the URL of the account
 */
export async function openAccount(session: Session, order: CertificateOrder): Promise<string> {
  const { email, externalAccount } = order;
  const { headers } = await session.post(session.directory.newAccount, {
    termsOfServiceAgreed: true,
    contact: [`mailto:${email}`],
    ...(externalAccount && {
      externalAccountBinding: session.bind(externalAccount.kid, externalAccount.key),
    }),
  });
  const url = headers.location;
  if (url === undefined) throw new Error('the authority sent no URL for the account');
  return url;
}

/** Goes through one order, from newOrder to the certificate. */
export async function goThroughOrder(
  session: Session,
  order: CertificateOrder,
  responder: ChallengeResponder,
): Promise<IssuedCertificate> {
  const created = await createOrder(session, order);
  const url = created.headers.location;
  const { authorizations, finalize } = created.body as { authorizations: string[]; finalize: string };
  if (url === undefined) throw new Error('the authority sent no URL for the order');
  await validate(session, authorizations, { type: order.challenge ?? 'http-01', responder });

  expectStatus('ready', await session.poll(url, ({ status }) => !UNFINISHED.has(status)));
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const csr = makeSigningRequest(privateKey, order.domains).toString('base64url');
  await session.post(finalize, { csr }).catch(unlessNotReady);
  const done = await session.poll(url, ({ status }) => !UNFINISHED.has(status) && status !== 'ready');
  expectStatus('valid', done);
  const { certificate } = done.body as { certificate: string };
  return {
    cert: await downloadChain(session, certificate, order.preferredChain),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/** An authority that refuses `replaces` is asked again without it, because the renewal matters more. */
async function createOrder(session: Session, order: CertificateOrder): Promise<AcmeResponse> {
  const { domains, profile, replaces } = order;
  const identifiers = domains.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }));
  const request = { identifiers, ...(profile !== undefined && { profile }) };
  const { newOrder } = session.directory;
  if (replaces === undefined) return session.post(newOrder, request);
  try {
    return await session.post(newOrder, { ...request, replaces });
  } catch (error) {
    if (!(error instanceof AcmeProblemError) || !isAboutReplacement(error)) throw error;
    return session.post(newOrder, request);
  }
}

/** @see https://www.rfc-editor.org/rfc/rfc9773#section-5 */
function isAboutReplacement({ urn, problem }: AcmeProblemError): boolean {
  return /:alreadyReplaced$/.test(urn) || (/:malformed$/.test(urn) && /replac/i.test(problem.detail));
}

interface Validation {
  readonly type: Challenge['type'];
  readonly responder: ChallengeResponder;
}

/** A challenge, and the URLs to answer it and to read its authorization. */
interface Posed extends Challenge {
  readonly url: string;
  readonly authorization: string;
}

/**
 * Answers one challenge for each authorization that is not valid yet. All are presented before the first is reported as
 * ready, so that the authority validates them at the same time.
 */
async function validate(
  session: Session,
  authorizations: readonly string[],
  { type, responder }: Validation,
): Promise<void> {
  const read = await each(authorizations, async (url) => challengeOf(await session.post(url), url, type));
  const challenges = read
    .filter((found) => found !== undefined)
    .map((found): Posed => ({ ...found, keyAuthorization: session.keyAuthorization(found.token) }));
  await each(challenges, (challenge) => responder.present(plain(challenge)));
  await responder.spread(challenges.map(plain));
  await each(challenges, ({ url }) => session.post(url, {}));
  await each(challenges, ({ authorization }) => waitForValid(session, authorization));
  await each(challenges, (challenge) => responder.cleanup(plain(challenge)));
}

function challengeOf({ body }: AcmeResponse, authorization: string, type: Challenge['type']) {
  const { status, identifier, challenges } = body as Authorization;
  if (status === 'valid') return undefined;
  const found = challenges.find((offered) => offered.type === type);
  if (found === undefined) {
    const offered = challenges.map((other) => other.type).join(', ');
    throw new Error(`the authority offers no ${type} challenge for ${identifier.value}, only ${offered}`);
  }
  const { url, token } = found;
  return { type, name: identifier.value, token, url, authorization };
}

function plain({ type, name, token, keyAuthorization }: Challenge): Challenge {
  return { type, name, token, keyAuthorization };
}

async function waitForValid(session: Session, url: string): Promise<void> {
  const { body } = await session.poll(url, ({ status }) => !UNFINISHED.has(status));
  const { status, challenges } = body as Authorization;
  if (status === 'valid') return;
  throw failureOf(
    challenges.find(({ error }) => error !== undefined)?.error,
    `The authorization became ${status}`,
  );
}

/** Runs work for each item, a few at once. The first failure is thrown. */
function each<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const gate = createGate(AT_ONCE);
  const { signal } = new AbortController();
  return Promise.all(items.map((item) => gate.run(() => work(item), signal)));
}

/** Another machine of the authority reported the order as ready a moment ago. Polling continues. */
function unlessNotReady(error: unknown): void {
  if (!(error instanceof AcmeProblemError) || !error.urn.endsWith(':orderNotReady')) throw error;
}

function expectStatus(expected: string, { body }: AcmeResponse): void {
  const { status, error } = body as Json;
  // An order whose authorizations all exist already may be valid at once.
  if (status !== expected && status !== 'valid') throw failureOf(error, `The order became ${status}`);
}

/** The error for a challenge or an order that the authority reports as failed. */
function failureOf(error: unknown, otherwise: string): Error {
  if (error === undefined || error === null) return new Error(otherwise);
  return new AcmeProblemError({ ...problemOf(error, 200), isOfRequest: false });
}

/** Downloads the default chain, or the first one that has a certificate from the preferred issuer. */
async function downloadChain(session: Session, url: string, preferred: string | undefined): Promise<string> {
  const { headers, body } = await session.post(url);
  const usual = String(body);
  if (preferred === undefined || isFrom(usual, preferred)) return usual;
  for (const alternate of alternatesOf(headers.link ?? '', url)) {
    const chain = String((await session.post(alternate)).body);
    if (isFrom(chain, preferred)) return chain;
  }
  return usual;
}

function alternatesOf(link: string, base: string): string[] {
  return [...link.matchAll(/<([^>]*)>\s*;\s*rel="?alternate"?/g)].map(
    ([, url = '']) => new URL(url, base).href,
  );
}

/** True if the issuer of the topmost certificate has this common name. */
function isFrom(chain: string, commonName: string): boolean {
  const blocks = chain.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  return blocks.some((pem) => new X509Certificate(pem).issuer.split('\n').includes(`CN=${commonName}`));
}
