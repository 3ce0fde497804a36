import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fastify, { type FastifyInstance } from 'fastify';
import { compileSchemasLazily } from '../../src/http/lazy-schemas.ts';

const text = { type: 'string', maxLength: 3 };
const schema = {
  querystring: { type: 'object', properties: { q: text }, additionalProperties: false },
  response: { 200: { type: 'object', properties: { q: text } } },
};
const WRONG = { querystring: { type: 'no type' }, response: { 200: { type: 'no type' } } };

suite('schemas of routes', () => {
  const start = (): FastifyInstance => {
    const app = fastify();
    compileSchemasLazily(app);
    app.get('/right', { schema }, ({ query }) => ({ ...(query as object), secret: 'x' }));
    app.get('/wrong', { schema: WRONG }, () => ({}));
    return app;
  };

  test('are compiled for the first request, not at the start', async () => {
    await using app = start();
    await app.ready();
    assert.equal((await app.inject('/right')).statusCode, 200);
    assert.equal((await app.inject('/wrong')).statusCode, 500);
  });

  test('refuse a request with the errors of that request, and omit other properties of the response', async () => {
    await using app = start();
    assert.match((await app.inject('/right?q=long')).body, /q must NOT have more than 3 characters/);
    assert.match((await app.inject('/right?other')).body, /must NOT have additional properties/);
    assert.deepEqual((await app.inject('/right?q=abc')).json(), { q: 'abc' });
  });
});
