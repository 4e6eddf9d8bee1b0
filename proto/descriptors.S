/* The FileDescriptorSet that protoc wrote, in the read-only data of the program. See descriptors.h. */
    .section .rodata
    .global ipam_descriptor_set
    .global ipam_descriptor_set_end
    .balign 16
ipam_descriptor_set:
    .incbin DESCRIPTOR_SET
ipam_descriptor_set_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
