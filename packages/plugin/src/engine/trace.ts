/** What is found out about a call while it runs, for its event. */
export interface Trace {
  /** As in CallEvent: the last endpoint that was reached for; empty when none was. */
  endpoint: string;
  bytesSent: number;
  bytesReceived: number;
}
