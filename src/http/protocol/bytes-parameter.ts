/**
 * Reads the first value of a query parameter as bytes in Latin-1, because names of files need not be UTF-8.
 *
 * @param url a request target, in Latin-1 as Node.js has it
 */
export function bytesParameter(url: string, name: string): string | undefined {
  const [, query = ''] = url.split(/\?(.*)/s);
  for (const pair of query.split('&')) {
    const [key = '', value = ''] = pair.split(/=(.*)/s).map(decode);
    if (key === name) return value;
  }
  return undefined;
}

function decode(text: string): string {
  return text
    .replaceAll('+', ' ')
    .replace(/%([\da-f]{2})/gi, (_, byte: string) => String.fromCharCode(Number.parseInt(byte, 16)));
}
