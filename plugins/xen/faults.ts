/**
 * The codes of the protocol violations that the two halves raise.
 *
 * @module
 */

/** What a backend may find wrong with a frontend, by `RingFault.code`. */
export const DEVICE_FAULTS: Readonly<Record<string, string>> = {
  "xenbus-key": "A key of the frontend is missing or no number",
  "xenbus-queues": "The frontend wants no queue, or more than offered",
  "xenbus-rx-copy": "The frontend does not ask for receive by copy",
  "xenbus-port": "There is no event channel at a port that the frontend names",
  "ring-grant": "A ring page cannot be mapped",
  "ring-attach": "A ring page claims more requests than it has slots",
  "tx-request-overrun": "The transmit ring's request index is further than its slots allow",
  "tx-missing-slots": "The last published slot of a packet announces another",
  "tx-missing-extra": "The last published slot announces an extra info",
  "tx-extra-type": "An extra info is of no known type",
  "tx-gso": "A segmentation type is unknown or its size is 0",
  "tx-too-many-slots": "A packet has more slots than a good frontend would use",
  "tx-cross-page": "A slot reaches over its page",
  "rx-request-overrun": "The receive ring's request index is further than its slots allow",
  "ctrl-request-overrun": "The control ring's request index is further than its slots allow",
};

/** What a frontend may find wrong with a backend. */
export const DRIVER_FAULTS: Readonly<Record<string, string>> = {
  "tx-response-overrun": "There are more transmit responses than requests",
  "tx-id": "A transmit response names an id that is not pending",
  "tx-null": "A transmit response answers an extra info that was not sent",
  "tx-status": "A transmit response has an unknown status",
  "tx-grant-in-use": "A page is still in use though its transmit request was answered",
  "rx-response-overrun": "There are more receive responses than requests",
  "rx-id": "A receive response does not name the id posted in its slot",
  "rx-grant-in-use": "A page is still in use though its receive request was answered",
  "ctrl-response-overrun": "There are more control responses than requests",
  "ctrl-response-mismatch": "A control response is not for the request that was sent",
  "ctrl-del-status": "The statuses of a DEL_GREF_MAPPING list contradict its answer",
};
