import type { ErrorCode, ServiceError } from '../errors.ts';

const WAIT = 'Try again later.';
const ENGINE = 'Check that the Docker engine is running and that you can use it: docker version.';
const SMALLER = 'Raise the limit with --max-image-size, or choose fewer or smaller images.';

/**
 * Advice for a person at a command line. The catalogue's own advice is for clients of a service that another person
 * runs.
 */
const COMMAND_HELP: Partial<Record<ErrorCode, string>> = {
  'parameter-unknown': 'Remove the flag or correct its spelling; see dockerproxy help.',
  'parameter-invalid': 'Correct the named flag and try again.',
  'format-unavailable':
    'Leave out --format, or use --source registry: a Docker engine saves images in its own format.',
  'delta-unavailable': 'Leave out --have, or use --source registry: a Docker engine saves whole images.',
  'address-refused':
    'Only registries at public addresses, over HTTPS, are allowed. To use another one, add --allow HOST/** or, for plain HTTP, --insecure-registries HOST.',
  'layer-invalid': 'Save the image with --format docker, or ask its publisher to rebuild it.',
  'contents-too-large': 'Raise the limit with --max-unpacked-size, or save the image with --format docker.',
  'no-files': 'Save a container image with --format docker, and an artifact without files with --format oci.',
  'file-not-found': 'List the files with dockerproxy ls IMAGE.',
  'image-too-large': SMALLER,
  'signature-required':
    'Ask the publisher to sign the image with cosign and a key in your policy, or change the file that --policy names.',
  'signature-invalid':
    'Do not trust this image until its publisher explains why. The file that --policy names lists whose signatures count.',
  'image-not-found':
    'Check the spelling of the repository and the tag. For a private image, add --user NAME, or log in first: docker login REGISTRY.',
  'credentials-rejected':
    'Check --user and the password or token, and that they belong to the registry of the image.',
  'tag-not-found': 'Check the spelling of the tag, or choose another one.',
  'platform-not-found': 'Choose one of the platforms that the image has, with --platform os/architecture.',
  'archive-not-kept':
    'Choose a folder with more free space with --cache-dir, or leave out --parts, --checksum and --metalink.',
  'registry-failed':
    'Check the name of the registry and the network, or try again later. For a registry without HTTPS, add --insecure-registries HOST:PORT.',
  'registry-rate-limited': WAIT,
  'internal-error': 'This is a bug in DockerProxy. Try again, and report it if it persists.',
  'registry-refused': 'Check the reference. If it is right, log in to the registry: docker login REGISTRY.',
  'registry-credentials-refused': 'Log in to the registry again: docker login REGISTRY.',
  'engine-unreachable': ENGINE,
  'engine-failed': 'See the log of the Docker engine.',
  'engine-busy': WAIT,
  overloaded: WAIT,
  'registry-unavailable': WAIT,
};

/** Says what to do about an error, in terms of the command line: flags, `docker login`, and the time to wait. */
export function commandHelp({ code, help, retryAfter }: ServiceError): string {
  const advice = COMMAND_HELP[code] ?? help;
  if (retryAfter === undefined) return advice;
  const waiting = `Wait for ${waitingTime(retryAfter)} and try again.`;
  return advice === WAIT ? waiting : `${advice} ${waiting}`;
}

/** Formats a time as `45 s`, `2 min`, or `6 h`. Rounds up, so that a retry is not too early. */
function waitingTime(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.ceil(minutes / 60)} h`;
}

/** Writes a message about a URL or a service as one about a command: `&part=2` becomes `--part 2`. */
export function inFlags(message: string): string {
  return message
    .replace(/[&?](\w+)=([^\s,;&]*[^\s,;&.])/g, (_, name: string, value: string) =>
      value === '1' ? `--${name}` : `--${name} ${value}`,
    )
    .replace(/\b[Tt]he parameter (\w+)/g, '--$1')
    .replace(/\b[Tt]his service\b/g, 'DockerProxy');
}
