// Package bench measures a running broker over its native protocol: how much it
// takes, how much it delivers, how fast it answers. It is a client; the numbers
// say as much about the machine that both run on as about the broker, so only
// the ratios of measurements made in one go mean anything.
package bench
