import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { problemOf, startServer } from '../samples.ts';

suite('a parameter that breaks its schema', { timeout: 600_000 }, () => {
  const long = 'a'.repeat(200);
  const broken: [path: string, detail: string][] = [
    [
      '/api/v1/image?myimage=a&format=zip',
      'The parameter format must be docker, oci, rootfs, docker-classic, or files.',
    ],
    ['/api/v1/image?myimage=a&myimage=b', 'The parameter myimage is given more than once.'],
    ['/api/v1/image', 'The parameter myimage is missing.'],
    ['/api/v1/search?q=a', 'The parameter q must have at least 2 characters.'],
    [`/api/v1/search?q=${long}`, 'The parameter q must have at most 100 characters.'],
    [
      `/api/v1/delta?have=a${'&myimage=a'.repeat(11)}`,
      'The parameter myimage may be given at most 10 times.',
    ],
    ['/api/v1/limits?client=a', 'Unknown parameter "client".'],
  ];
  for (const [path, detail] of broken) {
    test(`${path.slice(0, 60)}: ${detail}`, async () => {
      await using server = await startServer({ search: async () => [] });
      const answer = await server.get(path);
      assert.equal(answer.status, 400);
      assert.equal(problemOf(answer).detail, detail);
    });
  }
});
