package admin

import (
	"context"
	"encoding/json"
	"iter"
	"strconv"
	"time"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

// The values of the API. openapi.yaml says what their members mean, with units.
type (
	Topic              = apimodel.Topic
	NewTopic           = apimodel.NewTopic
	TopicPatch         = apimodel.TopicPatch
	TopicKind          = apimodel.TopicKind
	TopicState         = apimodel.TopicState
	TopicOutcome       = apimodel.TopicOutcome
	Retention          = apimodel.Retention
	Group              = apimodel.Group
	NewGroup           = apimodel.NewGroup
	GroupPatch         = apimodel.GroupPatch
	GroupState         = apimodel.GroupState
	GroupOutcome       = apimodel.GroupOutcome
	Plan               = apimodel.Plan
	Moved              = apimodel.Moved
	JournalEntry       = apimodel.JournalEntry
	Message            = apimodel.Message
	Browse             = apimodel.BrowseMessagesParams
	Transaction        = apimodel.Transaction
	Transacted         = apimodel.TransactionResult
	TransactionMessage = apimodel.TransactionMessage
	TransactionAck     = apimodel.TransactionAck
	TransactionMove    = apimodel.TransactionMove
	DeadLetters        = apimodel.DeadLetters
	Account            = apimodel.Account
	NewAccount         = apimodel.NewAccount
	AccountChange      = apimodel.AccountChange
	Token              = apimodel.Token
	TokenSpec          = apimodel.TokenSpec
	NewToken           = apimodel.NewToken
	Role               = apimodel.Role
	RoleBody           = apimodel.RoleBody
)

// Topics ranges over the topics whose names have a text in them; "" is all.
func (c *Client) Topics(ctx context.Context, name string) iter.Seq2[Topic, error] {
	query := map[string]any{}
	if name != "" {
		query["name"] = name
	}
	return List[Topic](ctx, c, "GET /topics", "topics", query)
}

// Topic describes a topic.
func (c *Client) Topic(ctx context.Context, topic string) (Topic, error) {
	return Do[Topic](ctx, c, "GET /topics/{topic}", nil, topic)
}

// CreateTopic creates a topic; ErrExists if there is one.
func (c *Client) CreateTopic(ctx context.Context, t NewTopic) (Topic, error) {
	return Do[Topic](ctx, c, "POST /topics", t)
}

// ChangeTopic changes what the patch has.
func (c *Client) ChangeTopic(ctx context.Context, topic string, p TopicPatch) (Topic, error) {
	return Do[Topic](ctx, c, "PATCH /topics/{topic}", p, topic)
}

// PutTopic creates a topic, or makes it so: what the state leaves out gets its default. It can be repeated, and
// says what it has changed. A topic of another kind is ErrConflict.
func (c *Client) PutTopic(ctx context.Context, topic string, s TopicState) (TopicOutcome, error) {
	return Do[TopicOutcome](ctx, c, "PUT /topics/{topic}", s, topic)
}

// DeleteTopic removes a topic with its messages and groups.
func (c *Client) DeleteTopic(ctx context.Context, topic string) error {
	_, err := Do[None](ctx, c, "DELETE /topics/{topic}", nil, topic)
	return err
}

// Groups ranges over the groups of a topic.
func (c *Client) Groups(ctx context.Context, topic string) iter.Seq2[Group, error] {
	return List[Group](ctx, c, "GET /topics/{topic}/groups", "groups", nil, topic)
}

// Group describes a group, with its place, its lag, and how many dead letters wait (see
// [DeadLetters]); the letters are messages of the topic <topic>.dead.
func (c *Client) Group(ctx context.Context, topic, group string) (Group, error) {
	return Do[Group](ctx, c, "GET /topics/{topic}/groups/{group}", nil, topic, group)
}

// CreateGroup creates a group; ErrExists if there is one.
func (c *Client) CreateGroup(ctx context.Context, topic string, g NewGroup) (Group, error) {
	return Do[Group](ctx, c, "POST /topics/{topic}/groups", g, topic)
}

// ChangeGroup changes what the patch has.
func (c *Client) ChangeGroup(ctx context.Context, topic, group string, p GroupPatch) (Group, error) {
	return Do[Group](ctx, c, "PATCH /topics/{topic}/groups/{group}", p, topic, group)
}

// PutGroup creates a group, or makes it so, as PutTopic does. One that exists stays at its position.
func (c *Client) PutGroup(ctx context.Context, topic, group string, s GroupState) (GroupOutcome, error) {
	return Do[GroupOutcome](ctx, c, "PUT /topics/{topic}/groups/{group}", s, topic, group)
}

// DeleteGroup removes a group.
func (c *Client) DeleteGroup(ctx context.Context, topic, group string) error {
	_, err := Do[None](ctx, c, "DELETE /topics/{topic}/groups/{group}", nil, topic, group)
	return err
}

// Position is a position in a topic's log.
type Position struct{ at any }

// Earliest is the oldest message.
func Earliest() Position { return Position{"earliest"} }

// Latest is behind the newest message.
func Latest() Position { return Position{"latest"} }

// AtOffset is the message with an offset.
func AtOffset(offset int64) Position {
	return Position{map[string]string{"offset": strconv.FormatInt(offset, 10)}}
}

// AtTime is the first message that is not older.
func AtTime(t time.Time) Position {
	return Position{map[string]string{"time": t.Format(time.RFC3339Nano)}}
}

// AtMessage is the newest message with an ID.
func AtMessage(id string) Position { return Position{map[string]string{"messageId": id}} }

// AtGroup is where another group of the topic is.
func AtGroup(name string) Position { return Position{map[string]string{"group": name}} }

// MarshalJSON is part of json.Marshaler.
func (p Position) MarshalJSON() ([]byte, error) { return json.Marshal(p.at) }

// Plan says what moving a group would do: how many messages would come again or be skipped, and the
// first of those that come next. Nothing changes until [Client.Apply].
func (c *Client) Plan(ctx context.Context, topic, group string, to Position) (Plan, error) {
	return Do[Plan](ctx, c, "POST /topics/{topic}/groups/{group}/plans", map[string]any{"to": to}, topic, group)
}

// Apply moves a group as a plan says. It is ErrConflict when the group has moved since, with a fresh
// plan in [Error].Problem.
func (c *Client) Apply(ctx context.Context, plan, reason string) (Moved, error) {
	return Do[Moved](ctx, c, "POST /plans/{plan}:apply", because(reason), plan)
}

// Journal ranges over the moves of a group, the latest first.
func (c *Client) Journal(ctx context.Context, topic, group string) iter.Seq2[JournalEntry, error] {
	return List[JournalEntry](ctx, c, "GET /topics/{topic}/groups/{group}/journal", "entries", nil, topic, group)
}

// Revert undoes a move, by its id in the journal.
func (c *Client) Revert(ctx context.Context, entry, reason string) (Moved, error) {
	return Do[Moved](ctx, c, "POST /journal/{entry}:revert", because(reason), entry)
}

func because(reason string) any { return map[string]string{"reason": reason} }

// Page is one page of messages.
type Page struct {
	Messages  []Message `json:"messages"`
	Scanned   string    `json:"scanned"`   // how many messages were read
	ScannedTo string    `json:"scannedTo"` // Browse.From of the next page
	More      bool      `json:"more"`      // whether there is one
}

// Browse reads messages without consuming them. Dead letters are messages of the topic <topic>.dead.
func (c *Client) Browse(ctx context.Context, topic string, b Browse) (Page, error) {
	return Do[Page](ctx, c, "GET /topics/{topic}/messages", b, topic)
}

// Message reads one message, with the whole of its body.
func (c *Client) Message(ctx context.Context, topic string, offset int64) (Message, error) {
	return Do[Message](ctx, c, "GET /topics/{topic}/messages/{offset}", nil, topic, strconv.FormatInt(offset, 10))
}

// Transact publishes to several topics, acks and moves groups in one commit: all of it happens, or
// nothing.
func (c *Client) Transact(ctx context.Context, t Transaction) (Transacted, error) {
	return Do[Transacted](ctx, c, "POST /messages:transaction", t)
}

// Accounts lists the accounts, by name.
func (c *Client) Accounts(ctx context.Context) ([]Account, error) {
	list, err := Do[apimodel.AccountList](ctx, c, "GET /accounts", nil)
	return list.Accounts, err
}

// Account describes an account.
func (c *Client) Account(ctx context.Context, name string) (Account, error) {
	return Do[Account](ctx, c, "GET /accounts/{account}", nil, name)
}

// CreateAccount creates an account; ErrExists if there is one. The first one turns access on.
func (c *Client) CreateAccount(ctx context.Context, a NewAccount) (Account, error) {
	return Do[Account](ctx, c, "POST /accounts", a)
}

// ChangeAccount changes what the change has. It holds at once, also for open connections.
func (c *Client) ChangeAccount(ctx context.Context, name string, a AccountChange) (Account, error) {
	return Do[Account](ctx, c, "PATCH /accounts/{account}", a, name)
}

// DeleteAccount removes an account with its tokens.
func (c *Client) DeleteAccount(ctx context.Context, name string) error {
	_, err := Do[None](ctx, c, "DELETE /accounts/{account}", nil, name)
	return err
}

// Roles lists the roles, the built-in ones, too.
func (c *Client) Roles(ctx context.Context) ([]Role, error) {
	list, err := Do[apimodel.RoleList](ctx, c, "GET /roles", nil)
	return list.Roles, err
}

// PutRole creates or replaces a role.
func (c *Client) PutRole(ctx context.Context, name string, r RoleBody) (Role, error) {
	return Do[Role](ctx, c, "PUT /roles/{role}", r, name)
}

// CreateToken creates a token. Its secret is told only now.
func (c *Client) CreateToken(ctx context.Context, t TokenSpec) (NewToken, error) {
	return Do[NewToken](ctx, c, "POST /tokens", t)
}

// Tokens lists the tokens of an account; "" is those of all that may be seen.
func (c *Client) Tokens(ctx context.Context, account string) ([]Token, error) {
	var query any
	if account != "" {
		query = map[string]any{"account": account}
	}
	list, err := Do[apimodel.TokenList](ctx, c, "GET /tokens", query)
	return list.Tokens, err
}

// RevokeToken revokes a token by its id. Its connections are closed.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := Do[None](ctx, c, "DELETE /tokens/{token}", nil, id)
	return err
}
