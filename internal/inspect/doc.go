// Package inspect reads logs for people: what became of a message in each group, how far a group
// is behind, what moving it would do. It consumes nothing and changes nothing; a plan is applied by
// the broker, which owns positions and asks the plan whether it still holds.
//
// All that it needs of the broker are pages of a log ([broker.Topic.Scan]), a picture of a group
// ([broker.Group.Snapshot]) and its journal.
package inspect
