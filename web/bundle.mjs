// JsSIP as one module, with the two of its parts that send a request of a method it knows nothing of (SERVICE).
import JsSIP from "jssip";
import RequestSender from "jssip/lib/RequestSender.js";
import { OutgoingRequest } from "jssip/lib/SIPMessage.js";

export { JsSIP, OutgoingRequest, RequestSender };
