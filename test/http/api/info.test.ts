import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Value } from 'typebox/value';
import { ServiceInfo } from '../../../src/http/api/info.ts';
import { INFO, problemOf, sharedServer } from '../samples.ts';

suite('GET /api/v1/info', { timeout: 600_000 }, () => {
  test('says what the service is, as its schema has it', async () => {
    await using server = await sharedServer();
    const answer = await server.get('/api/v1/info');
    assert.equal(answer.status, 200);
    assert.match(answer.header('content-type') ?? '', /^application\/json/);
    const body: unknown = JSON.parse(answer.body.toString());
    assert.ok(Value.Check(ServiceInfo, body));
    assert.deepEqual(body, INFO);
  });

  test('a parameter that it does not have is refused by name', async () => {
    await using server = await sharedServer();
    const problem = problemOf(await server.get('/api/v1/info?verbose=1'));
    assert.equal(problem.code, 'parameter-unknown');
    assert.match(problem.detail, /"verbose"/);
  });
});
