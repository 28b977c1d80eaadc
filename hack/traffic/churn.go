// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// churners is how many goroutines make connections side by side.
const churners = 8

// churn makes short connections of several kinds, one after another on each of some
// goroutines, for so many seconds, and prints how many.
func churn(server string, seconds int) error {
	until := time.Now().Add(time.Duration(seconds) * time.Second)
	var made, failed atomic.Uint64
	var group sync.WaitGroup
	for worker := range churners {
		group.Go(func() {
			for n := worker; time.Now().Before(until); n++ {
				if err := churnOne(server, n); err != nil {
					failed.Add(1)
				}
				made.Add(1)
			}
		})
	}
	group.Wait()
	fmt.Println(made.Load(), "connections,", failed.Load(), "of them without the answer that was due")
	if failed.Load() > made.Load()/10 {
		return fmt.Errorf("%d of %d connections failed", failed.Load(), made.Load())
	}
	return nil
}

// churnOne makes the n-th connection: a page, a page that is aborted, an echo over
// UDP, a port that is closed.
func churnOne(server string, n int) error {
	switch n % 8 {
	case 0:
		return interrupt(server, "/2000000")
	case 1, 2:
		return echo(server)
	case 3:
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(server, "81"), time.Second)
		if err == nil {
			return conn.Close()
		}
		return nil
	default:
		return get(server, "/1200")
	}
}
