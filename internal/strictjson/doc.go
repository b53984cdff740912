// Package strictjson decodes JSON that clients send, and refuses what encoding/json would pass over
// or alter: unknown members, missing ones and null, a member that is there twice, text that is not
// UTF-8. Its errors are for the client: they name the member, and what it must be.
package strictjson
