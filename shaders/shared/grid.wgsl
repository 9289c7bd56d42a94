// One thread an item, in a grid folded into two dimensions because a dimension holds at most 65,535 workgroups.

const WORKGROUP: u32 = 256u;

// The workgroup's number in a folded grid that is `width` workgroups wide.
fn workgroup_index(workgroup: vec3<u32>, width: u32) -> u32 {
    return workgroup.y * width + workgroup.x;
}

// The thread's number in a folded grid that is `width` workgroups wide.
fn item_index(workgroup: vec3<u32>, width: u32, lane: u32) -> u32 {
    return workgroup_index(workgroup, width) * WORKGROUP + lane;
}
