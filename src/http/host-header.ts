/** A host name or an address, with or without a port: nothing else of a header gets into an address of ours. */
export const HOST = /^(?<host>[a-z0-9](?:[a-z0-9.-]{0,252})|\[[0-9a-f:.]{2,45}\])(?<port>:\d{1,5})?$/;
