import type { ClientStream } from './exchange.ts';

/** The ClientStream of an answer without a body (HEAD, 204, 304): takes everything and sends nothing. */
export function discardingStream(onClose: (callback: () => void) => void): ClientStream {
  let closed: () => void = () => {};
  onClose(() => closed());
  return {
    write: () => true,
    end: () => {},
    abort: () => {},
    listen: (handlers) => {
      closed = () => handlers.onClose();
    },
  };
}
