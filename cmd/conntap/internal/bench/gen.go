// SPDX-License-Identifier: Apache-2.0

package bench

//go:generate go tool bpf2go -target bpfel -output-stem generator -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" generator ../../../../bpf/generator.bpf.c
