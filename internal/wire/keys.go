package wire

// Header names.
const (
	HeaderCmd           = "cmd"
	HeaderTopic         = "topic"
	HeaderID            = "id"
	HeaderAck           = "ack"
	HeaderTag           = "tag"
	HeaderToken         = "token"
	HeaderAuthorization = "authorization"
	HeaderEncoding      = "encoding"
	HeaderSender        = "sender"
	HeaderRecver        = "recver"
	HeaderServer        = "server"
	HeaderServers       = "servers" // of a 503: where it is to be asked for instead, with ; between
	HeaderScope         = "scope"   // of a track_sub: "all" for what clients are not to choose, too
	HeaderProof         = "proof"   // of a server: the secret that it answers for
	HeaderTracker       = "tracker" // of a track_probe: the address of a tracker that is back
	HeaderModule        = "module"
	HeaderBody          = "body"
	HeaderDedup         = "dedup"        // of a publish: store it once by its id
	HeaderDup           = "duplicate"    // of the answer to one: it was stored before
	HeaderMessageID     = "zbus-id"      // of a publish: the id of the message, where it is not to be the request's
	HeaderReceipt       = "zbus-receipt" // of a publish: its answer is to have the offset
	HeaderVersion       = "version"

	HeaderTopicMask        = "topic_mask"
	HeaderTopicMaxAge      = "topic_max_age"
	HeaderTopicMaxCount    = "topic_max_count"
	HeaderTopicMaxBytes    = "topic_max_bytes"
	HeaderConsumeGroup     = "consume_group"
	HeaderConsumeWindow    = "consume_window"
	HeaderWindow           = "window"
	HeaderGroupFilter      = "group_filter"
	HeaderGroupMask        = "group_mask"
	HeaderGroupNameAuto    = "group_name_auto"
	HeaderGroupStartCopy   = "group_start_copy"
	HeaderGroupStartOffset = "group_start_offset"
	HeaderGroupStartMsgID  = "group_start_msgid"
	HeaderGroupStartTime   = "group_start_time"
	HeaderGroupAckTimeout  = "group_ack_timeout"
	HeaderGroupAckWindow   = "group_ack_window"
	HeaderMaxDeliver       = "max_deliver"

	HeaderOffset        = "offset"
	HeaderTimestamp     = "timestamp"
	HeaderHandle        = "handle"
	HeaderDelay         = "delay"
	HeaderRetry         = "retry"
	HeaderReason        = "reason" // of a nack: for the dead letter
	HeaderDead          = "dead"   // of a nack: not to be delivered again
	HeaderDeliveryCount = "delivery-count"
	HeaderTimeout       = "timeout"
	HeaderRPCMethod     = "rpc_method"
	HeaderHop           = "zbus-hop"       // of a request that a server passes on: its address
	HeaderServedBy      = "zbus-served-by" // of the answer to one: the address of who has answered it
	HeaderErrorStatus   = "error_status"   // of an answer: what its body says of the error in it

	HeaderOriginID     = "origin_id"
	HeaderOriginURL    = "origin_url"
	HeaderOriginStatus = "origin_status"
	HeaderOriginMethod = "origin_method"
	HeaderRemoteAddr   = "remote-addr"

	HeaderHost             = "host"
	HeaderConnection       = "connection"
	HeaderUpgrade          = "upgrade"
	HeaderExpect           = "expect"
	HeaderContentType      = "content-type"
	HeaderContentLength    = "content-length"
	HeaderTransferEncoding = "transfer-encoding"
)

// Commands, the values of the cmd header and the first segments of URLs.
const (
	CmdProduce   = "produce"
	CmdConsume   = "consume"
	CmdUnconsume = "unconsume"
	CmdAck       = "ack"
	CmdNack      = "nack"
	CmdExtend    = "extend"
	CmdRPC       = "rpc"
	CmdRoute     = "route"
	CmdDescribe  = "describe"

	CmdDeclare  = "declare"
	CmdQuery    = "query"
	CmdRemove   = "remove"
	CmdEmpty    = "empty"
	CmdRelocate = "relocate"

	CmdTracker    = "tracker"
	CmdServer     = "server"
	CmdTrackSub   = "track_sub"
	CmdTrackPub   = "track_pub"
	CmdTrackProbe = "track_probe"
	CmdSSL        = "ssl"

	CmdPing      = "ping"
	CmdHeartbeat = "heartbeat"

	CmdHome    = "home"
	CmdJS      = "js"
	CmdCSS     = "css"
	CmdImg     = "img"
	CmdPage    = "page"
	CmdFavicon = "favicon.ico"
	CmdLogin   = "login"
	CmdLogout  = "logout"
)
