import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { commandHelp, inFlags } from '../../src/cli/command-help.ts';
import { detail } from '../../src/errors/details.ts';
import { listErrors, ServiceError } from '../../src/errors.ts';

/** Errors of HTTP requests, which no command can get. */
const OF_THE_SERVICE = new Set([
  ...[
    'image-not-allowed',
    'client-not-allowed',
    'route-not-found',
    'request-malformed',
    'method-not-allowed',
  ],
  ...['request-timeout', 'precondition-failed', 'url-too-long', 'range-not-satisfiable', 'headers-too-large'],
  ...['too-many-requests', 'too-many-downloads', 'too-many-connections', 'daily-bytes-used', 'service-full'],
  ...['credentials-required', 'credentials-invalid', 'credentials-unavailable', 'too-many-failed-logins'],
]);

const FAILED = detail('failure-internal', {});

suite('the advice of a command', () => {
  for (const { code } of listErrors().filter((entry) => !OF_THE_SERVICE.has(entry.code))) {
    test(`about ${code} does not speak of a service`, () => {
      const advice = commandHelp(new ServiceError(code, FAILED));
      assert.match(advice, /^[A-Z].*[^ ]$/);
      assert.doesNotMatch(advice, /[&?][a-z]+=|operator|Retry-After|\/api\/|\/dl|this service/);
    });
  }

  for (const [seconds, time] of [
    [45, '45 s'],
    [119, '119 s'],
    [121, '3 min'],
    [21_600, '6 h'],
  ] as const) {
    test(`names the time after which to try again: ${time}`, () => {
      const error = new ServiceError('registry-rate-limited', FAILED, { retryAfter: seconds });
      assert.equal(commandHelp(error), `Wait for ${time} and try again.`);
    });
  }

  test('mentions flags and docker login', () => {
    assert.match(commandHelp(new ServiceError('platform-not-found', FAILED)), /--platform os\/architecture/);
    assert.match(commandHelp(new ServiceError('image-not-found', FAILED)), /docker login REGISTRY/);
    assert.match(commandHelp(new ServiceError('address-refused', FAILED)), /--allow HOST/);
    assert.match(commandHelp(new ServiceError('registry-failed', FAILED)), /--insecure-registries HOST:PORT/);
  });
});

suite('the message of a command', () => {
  for (const [message, expected] of [
    ['Omit &referrers=1, or request fewer.', 'Omit --referrers, or request fewer.'],
    ['Request it with &format=files or &format=oci.', 'Request it with --format files or --format oci.'],
    ['Choose a part, as in &part=2.', 'Choose a part, as in --part 2.'],
    ['&platform=linux/arm64/v8, not all', '--platform linux/arm64/v8, not all'],
    ['The parameter have is wrong, because the parameter parts is.', '--have is wrong, because --parts is.'],
    ['This service sends at most 5 bytes.', 'DockerProxy sends at most 5 bytes.'],
    ['R&D images at a.example/x?y are unknown.', 'R&D images at a.example/x?y are unknown.'],
  ] as const)
    test(`speaks of flags: ${expected}`, () => assert.equal(inFlags(message), expected));
});
