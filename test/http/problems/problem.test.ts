import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { detail } from '../../../src/errors/details.ts';
import { type ErrorCode, type ErrorDetails, ServiceError } from '../../../src/errors.ts';
import { type Answer, problemOf, type RunningServer, sharedServer, startServer } from '../samples.ts';

const DL = '/dl?myimage=busybox';

/** The status of each code. The type requires all codes. */
const STATUSES: Record<ErrorCode, number> = {
  'contents-unread': 202,
  'reference-invalid': 400,
  'platform-invalid': 400,
  'parameter-unknown': 400,
  'parameter-invalid': 400,
  'request-malformed': 400,
  'format-unavailable': 400,
  'delta-unavailable': 400,
  'credentials-invalid': 400,
  'credentials-required': 401,
  'credentials-rejected': 401,
  'credentials-unavailable': 403,
  'too-many-failed-logins': 429,
  'image-not-allowed': 403,
  'address-refused': 403,
  'image-too-large': 403,
  'client-not-allowed': 403,
  'signature-required': 403,
  'signature-invalid': 403,
  'too-many-requests': 429,
  'too-many-downloads': 429,
  'too-many-connections': 429,
  'daily-bytes-used': 429,
  'service-full': 429,
  'route-not-found': 404,
  'image-not-found': 404,
  'tag-not-found': 404,
  'platform-not-found': 404,
  'file-not-found': 404,
  'method-not-allowed': 405,
  'request-timeout': 408,
  'precondition-failed': 412,
  'url-too-long': 414,
  'range-not-satisfiable': 416,
  'not-an-image': 422,
  'no-files': 422,
  'manifest-outdated': 422,
  'archive-not-kept': 422,
  'too-many-layers': 422,
  'layer-unavailable': 422,
  'request-too-costly': 422,
  'layer-invalid': 422,
  'contents-too-large': 422,
  'size-mismatch': 422,
  'registry-rate-limited': 429,
  'headers-too-large': 431,
  'internal-error': 500,
  'registry-failed': 502,
  'registry-refused': 502,
  'registry-credentials-refused': 502,
  'engine-unreachable': 502,
  'engine-failed': 502,
  'content-mismatch': 502,
  'engine-busy': 503,
  overloaded: 503,
  'registry-unavailable': 503,
  'registry-timeout': 504,
  'http-version-unsupported': 505,
};

const SENTENCE = detail('image-unknown', { image: 'busybox' });

function startFailing(code: ErrorCode, details?: ErrorDetails): Promise<RunningServer> {
  return sharedServer(() => Promise.reject(new ServiceError(code, SENTENCE, details)));
}

function assertOneCleanHead({ head }: Answer): void {
  for (const line of head.split('\r\n')) assert.match(line, /^[\x20-\x7e]+$/);
  assert.doesNotMatch(head, /^(?:set-cookie|x-injected)/im);
}

suite('problems', { timeout: 600_000 }, () => {
  for (const [code, status] of Object.entries(STATUSES) as [ErrorCode, number][]) {
    test(`${code} is a ${status} with a title, a sentence, and help`, async () => {
      await using server = await startFailing(code);
      const answer = await server.get(DL);
      const problem = problemOf(answer);
      assert.equal(answer.status, status);
      assert.equal(problem.status, status);
      assert.equal(problem.code, code);
      assert.equal(problem.type, `urn:dockerproxy:error:${code}`);
      assert.equal(problem.detail, 'The image busybox does not exist.');
      assert.match(problem.title, /^[A-Z][\x20-\x7e]{5,50}[^.]$/);
      assert.match(problem.help, /^[A-Z].{10,150}\.$/);
      assert.equal(answer.reason, problem.title);
      assert.equal(answer.header('cache-control'), 'no-store');
      assert.equal(answer.header('vary'), 'accept, accept-language, cookie');
    });
  }

  test('Retry-After is sent if it is known', async () => {
    await using server = await startFailing('registry-rate-limited', { retryAfter: 17 });
    const answer = await server.get(DL);
    assert.equal(answer.header('retry-after'), '17');
    assert.equal(problemOf(answer).retryAfter, 17);
    await using other = await startFailing('registry-failed');
    assert.equal((await other.get(DL)).header('retry-after'), undefined);
  });

  test('internal errors are logged and not sent', async () => {
    await using server = await sharedServer(() => Promise.reject(new TypeError('/secret/path')));
    const answer = await server.get(DL);
    assert.equal(problemOf(answer).code, 'internal-error');
    assert.equal(answer.status, 500);
    assert.doesNotMatch(`${answer.head}${answer.body}`, /secret|TypeError/);
    const line = server.log.find(({ level }) => level >= 40);
    assert.match(JSON.stringify(line), /\/secret\/path/);
  });
});

suite('problems in the form that the client prefers', { timeout: 600_000 }, () => {
  const forms: [string | undefined, string][] = [
    [undefined, 'application/problem+json'],
    ['*/*', 'application/problem+json'],
    ['application/json', 'application/problem+json'],
    ['application/problem+json', 'application/problem+json'],
    ['image/png', 'application/problem+json'],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'text/html'],
    ['text/plain', 'text/plain'],
    ['text/html;q=0.1, text/plain', 'text/plain'],
  ];
  for (const [accept, type] of forms) {
    test(`Accept: ${accept} gives ${type}`, async () => {
      await using server = await sharedServer();
      const answer = await server.get('/dl?myimage=UPPER', accept === undefined ? {} : { accept });
      assert.equal(answer.status, 400);
      assert.equal(answer.header('content-type')?.replace(/; charset=utf-8$/, ''), type);
      assert.match(answer.body.toString(), /UPPER/);
      assert.match(answer.body.toString(), /Invalid image reference/);
      assert.equal(answer.header('content-length'), `${answer.body.length}`);
    });
  }

  test('HTML shows what the client sent as text', async () => {
    await using server = await sharedServer();
    const hostile = encodeURIComponent('<script>alert(1)</script>&amp;');
    for (const path of [`/dl?myimage=${hostile}`, `/dl?${hostile}=1`, `/dl/${hostile}`]) {
      const page = (await server.get(path, { accept: 'text/html' })).body.toString();
      assert.doesNotMatch(page, /<script>/);
      assert.match(page, /&lt;script&gt;alert\(1\)&lt;\/script&gt;&amp;amp;/);
    }
  });

  suite('HTML for an unknown tag', () => {
    const members = { repository: 'python', tag: '3.12-slimm', similarTags: ['3.12-slim', '3.12'] };
    const failure = new ServiceError(
      'tag-not-found',
      detail('tag-missing', { repository: 'python', tag: '3.12-slimm' }),
      { members },
    );
    const linksAt = async (path: string, error = failure): Promise<string[]> => {
      await using server = await sharedServer(() => Promise.reject(error));
      const page = (await server.get(path, { accept: 'text/html' })).body.toString();
      return [...page.matchAll(/href="(\/dl[^"]*)">([^<]*)</g)].map(([, href, text]) => `${text} ${href}`);
    };
    const table: [path: string, links: string[]][] = [
      [
        '/dl?myimage=python:3.12-slimm',
        ['3.12-slim /dl?myimage=python:3.12-slim', '3.12 /dl?myimage=python:3.12'],
      ],
      [
        '/dl?myimage=docker.io/library/python:3.12-slimm&platform=linux/arm64&format=oci',
        ['3.12-slim', '3.12'].map(
          (tag) => `${tag} /dl?myimage=python:${tag}&amp;platform=linux/arm64&amp;format=oci`,
        ),
      ],
      [
        '/dl?myimage=busybox&myimage=python:3.12-slimm&myimage=python:3',
        ['3.12-slim', '3.12'].map(
          (tag) => `${tag} /dl?myimage=busybox&amp;myimage=python:${tag}&amp;myimage=python:3`,
        ),
      ],
      [
        '/dl/python:3.12-slimm.tar',
        ['3.12-slim /dl?myimage=python:3.12-slim', '3.12 /dl?myimage=python:3.12'],
      ],
    ];
    for (const [path, links] of table) {
      test(`links ${path} with each similar tag`, async () => assert.deepEqual(await linksAt(path), links));
    }

    test('has no links without similar tags', async () => {
      const none = new ServiceError('tag-not-found', SENTENCE, { members: { ...members, similarTags: [] } });
      assert.deepEqual(await linksAt('/dl?myimage=python:3.12-slimm', none), []);
    });
  });

  test('plain text ends with a line feed and has no markup', async () => {
    await using server = await sharedServer();
    const text = (await server.get('/nothing', { accept: 'text/plain' })).body.toString();
    assert.match(text, /^404 No such page\n\n.*\n.*\n$/);
  });
});

suite('the reason phrase', { timeout: 600_000 }, () => {
  test('says what wget would not show otherwise', async () => {
    await using server = await startServer({ allow: ['docker.io/**'] });
    assert.equal((await server.get('/dl?myimage=UPPER')).reason, 'Repository must be lowercase');
    assert.equal((await server.get('/dl')).reason, 'The parameter myimage is missing');
    assert.equal((await server.get(`${DL}&arch=arm64`)).reason, 'Unknown parameter "arch"');
    assert.equal(
      (await server.get('/dl?myimage=a.example/b')).reason,
      'Images from a.example are not allowed here',
    );
  });

  const hostile = [
    '%0d%0aX-Injected:%20yes',
    '%0aSet-Cookie:a=b',
    '%0d',
    '%00',
    '%C3%A9',
    '%E2%80%AE',
    '%1b[31m',
  ];
  for (const text of hostile) {
    test(`is one line of ASCII, whatever ${text} stands for`, async () => {
      await using server = await sharedServer();
      for (const path of [
        `/dl?myimage=a${text}`,
        `/dl?a${text}=1`,
        `/dl/a${text}.tar`,
        `${DL}&format=${text}`,
      ]) {
        const answer = await server.get(path);
        assert.equal(answer.status, 400);
        assertOneCleanHead(answer);
        problemOf(answer);
      }
    });
  }

  test('is one short line of ASCII, also where a registry has a say in it', async () => {
    const reason = `No é/\u0000; there is linux\r\nX-Injected: yes\r\n\r\n<html>${'x'.repeat(500)}`;
    await using server = await startFailing('platform-not-found', { reason });
    const answer = await server.get(DL);
    assert.equal(answer.status, 404);
    assertOneCleanHead(answer);
    assert.match(answer.reason, /^No \?\/\?; there is linux\?\?X-Injected: yes/);
    assert.ok(answer.reason.length <= 120);
    assert.equal(problemOf(answer).detail, 'The image busybox does not exist.');
  });
});
